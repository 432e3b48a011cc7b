"""Looks at the operator's page with Chromium, over the pipe of its developer protocol.

Usage: look.py BROWSER URL TOKEN-FILE FOLDER

Light and dark, wide and as narrow as a phone, and without colour; then takes down the first agent by the page's own form. Screenshots
go to FOLDER. Prints, as JSON, what was seen.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile

VIEWS = [
    ("light-wide", "light", 1280, "none"),
    ("dark-wide", "dark", 1280, "none"),
    ("light-phone", "light", 360, "none"),
    ("dark-phone", "dark", 360, "none"),
    ("without-colour", "light", 1280, "achromatopsia"),
]
SEEN = """(() => {
  const style = getComputedStyle(document.body);
  return {
    title: document.title,
    text: document.body.innerText,
    width: document.documentElement.scrollWidth,
    ground: style.backgroundColor, ink: style.color,
    charts: document.querySelectorAll('svg polyline').length,
    labels: [...document.querySelectorAll('svg')].every((it) => it.getAttribute('aria-label')),
    forms: document.forms.length, scripts: document.scripts.length,
    markup: document.querySelectorAll('img, iframe, object, embed, b, marquee').length,
  };
})()"""


class Browser:
    """A browser, and one page in it."""

    def __init__(self, program, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def ends():
            # The browser reads at 3 and writes to 4.
            read, write = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [
                program,
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "about:blank",
            ],
            preexec_fn=ends,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.out = os.fdopen(ours_out, "wb", buffering=0)
        self.into = os.fdopen(ours_in, "rb")
        self.rest = b""
        self.last = 0
        self.session = None
        self.events = []

    def read(self):
        """The next message."""
        while b"\0" not in self.rest:
            piece = os.read(self.into.fileno(), 1 << 16)
            assert piece, "the browser has ended"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **parameters):
        """The result of a method."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.last:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]
            self.events.append(answer)

    def until(self, method):
        """Waits for an event that has not been seen yet."""
        while True:
            for place, event in enumerate(self.events):
                if event.get("method") == method:
                    return self.events.pop(place)
            self.events.append(self.read())

    def taken(self, method):
        """Takes the events of a kind that came so far."""
        found = [event["params"] for event in self.events if event.get("method") == method]
        self.events = [event for event in self.events if event.get("method") != method]
        return found

    def evaluate(self, expression):
        """The value of an expression in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")


def main():
    program, url, token_file, folder = sys.argv[1:]
    with open(token_file, encoding="ascii") as file:
        token = file.read().strip()
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(program, profile)
        try:
            json.dump(look(browser, url, token, folder), sys.stdout)
        finally:
            browser.process.kill()
            browser.process.wait()


def look(browser, url, token, folder):
    target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
    attached = browser.ask("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = attached["sessionId"]
    for domain in ("Page", "Network", "Runtime", "Log"):
        browser.ask(f"{domain}.enable")
    browser.ask(
        "Network.setExtraHTTPHeaders", headers={"Authorization": f"Bearer {token}"}
    )
    views = {}
    for name, scheme, width, deficiency in VIEWS:
        browser.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        browser.ask("Emulation.setEmulatedVisionDeficiency", type=deficiency)
        browser.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        browser.ask("Page.navigate", url=url)
        browser.until("Page.loadEventFired")
        seen = browser.evaluate(SEEN)
        # A phone makes its view as wide as what is in it.
        seen["wider"] = seen["width"] > width
        shot = browser.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(os.path.join(folder, f"{name}.png"), "wb") as file:
            file.write(base64.b64decode(shot["data"]))
        views[name] = seen
    # The page's own form, as a person sends it.
    browser.evaluate("document.querySelector('summary').click()")
    browser.evaluate("document.querySelector('form button').click()")
    browser.until("Page.loadEventFired")
    after = browser.evaluate(SEEN)
    requests = [it["request"]["url"] for it in browser.taken("Network.requestWillBeSent")]
    said = [it["entry"]["text"] for it in browser.taken("Log.entryAdded")]
    said += [str(it["args"]) for it in browser.taken("Runtime.consoleAPICalled")]
    said += [str(it) for it in browser.taken("Runtime.exceptionThrown")]
    return {"views": views, "after": after, "requests": requests, "console": said}


main()
