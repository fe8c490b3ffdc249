"""What the corpus is made of: one document, and the kinds there are."""

from dataclasses import dataclass

KINDS = ("lesson", "question", "story", "sum", "sum-direct", "tool", "parallel", "needle")  # keys of a mixture


@dataclass(frozen=True)
class Document:
    """A text, or a conversation. An exam's conversation ends before the answer, which `answer` holds."""

    kind: str  # "lesson" "question" "story" "sum" "tool" "parallel" "needle"
    domain: str  # "animals" "places" "materials" "stories" "arithmetic" "tools" "languages-fr" ... "needles"
    text: str = ""  # "" where there are messages
    messages: tuple[dict, ...] = ()  # transformers' chat rows: role, content, reasoning_content, tool_calls
    tools: tuple[dict, ...] = ()  # JSON schemas, as apply_chat_template(tools=...) takes them
    thinking: bool | None = None  # sums: True with scratch work, False without
    answer: str = ""  # the last answer, sign by sign; of a tool's call the JSON of its name and arguments

    @property
    def passages(self) -> tuple[str, ...]:
        """All that is said in it: the text, or the messages' contents."""
        return (self.text,) if self.text else tuple(row["content"] for row in self.messages)


def conversation(kind: str, domain: str, *turns: tuple[str, str], **fields) -> Document:
    """A document of questions and answers; the last answer is its `answer`."""
    rows = []
    for question, answer in turns:
        rows += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Document(kind, domain, messages=tuple(rows), answer=turns[-1][1], **fields)
