"""A server on this machine that speaks the chat-completions protocol, for tests of the judge."""

import http.server
import json
import math
import threading


def of_probability(chance):
    """A reply of a judge that says 1 with probability `chance`, else 0, with its log-probabilities."""
    first = [{"token": token, "logprob": math.log(p)} for token, p in (("1", chance), (" 0", 1 - chance)) if p > 0]
    choice = {"message": {"content": "1"}, "logprobs": {"content": [{"top_logprobs": first}]}}
    return 200, json.dumps({"choices": [choice]})


class Server:
    """Answers each request with the next entry of `script` (the last one again and again) and keeps what was asked.

    An entry is the judge's text, or (status, body), or "hang", "drip", "close".
    """

    def __init__(self, script=("VERDICT: CORRECT",)):
        self.script, self.asked, self.headers, self.lock, self.stop = (
            list(script),
            [],
            [],
            threading.Lock(),
            threading.Event(),
        )
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    entry = outer.script[min(len(outer.asked), len(outer.script) - 1)]
                    outer.asked.append(body)
                    outer.headers.append(dict(self.headers))
                if self.path != "/v1/chat/completions":
                    entry = (404, "no such path")
                if callable(entry):
                    entry = entry(body)
                if entry == "hang":
                    outer.stop.wait(60)
                    return
                if entry == "close":
                    self.connection.close()
                    return
                if entry == "drip":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000000")
                    self.end_headers()
                    while not outer.stop.wait(0.05):
                        try:
                            self.wfile.write(b" ")
                        except OSError:
                            return
                    return
                status, text = (
                    entry
                    if isinstance(entry, tuple)
                    else (200, json.dumps({"choices": [{"message": {"content": entry}}]}))
                )
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        class Listening(http.server.ThreadingHTTPServer):
            request_queue_size = 64  # with the usual 5 some of 16 callers at once wait a second to be heard

        self.http = Listening(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
