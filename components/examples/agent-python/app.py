"""Counts the words of the text that is posted to it: the ten that come most often, in JSON."""

import re
from collections import Counter

from web import read_body, reply
from wit_world import exports
from wit_world.imports.types import IncomingRequest, Method_Post, ResponseOutparam

# Letters and digits of any script, and what stands within a word.
WORD = re.compile(r"\w+(?:['’-]\w+)*")


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        if not isinstance(request.method(), Method_Post):
            reply(response_out, 405, {"error": "post a text"})
            return
        try:
            text = read_body(request).decode()
        except UnicodeDecodeError as error:
            reply(response_out, 400, {"error": f"not UTF-8 at byte {error.start}"})
            return
        words = Counter(WORD.findall(text.casefold()))
        # `most_common` would import at run time, where there is nothing to import from.
        most = sorted(words.items(), key=lambda item: -item[1])[:10]
        reply(response_out, 200, {"words": words.total(), "most": dict(most)})
