// What was said, in words: the caller's, the agent's, and what of it nobody heard.

const MAX_CAPTIONS = 200;

const list = document.getElementById("captions");

// Whoever reads further up is left there; everybody else sees the newest words, also those that are added to a line.
let isAtTheEnd = true;
list.onscroll = ({ target }) => {
  isAtTheEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
};

function follow() {
  if (isAtTheEnd) list.scrollTop = list.scrollHeight;
}

function say(kind, words, whose) {
  const item = document.createElement("li");
  item.className = kind;
  const name = document.createElement("b");
  name.textContent = whose;
  const text = document.createElement("span");
  text.textContent = words;
  item.append(name, text);
  list.append(item);
  if (list.children.length > MAX_CAPTIONS) list.firstChild.remove();
  follow();
  return item;
}

/** The captions of one call; they take the place of those before. */
export class Captions {
  constructor() {
    this.answers = new Map();
    this.partial = null;
    list.replaceChildren();
  }

  on(message) {
    if (message.type === "caption") this.caption(message);
    if (message.type === "heard") this.heard(message);
    if (message.type === "turn" && message.state === "open") this.open(message);
  }

  open({ turn, text }) {
    this.partial?.remove();
    this.partial = null;
    // Where the agent speaks unasked, there are no words of the caller's.
    if (text !== undefined) say("caller", text || "(not understood)", `you, turn ${turn}`);
  }

  caption({ who, turn, text, final: isFinal }) {
    if (who === "caller") {
      this.partial ??= say("caller partial", "", "you");
      this.partial.lastChild.textContent = text;
      follow();
      if (isFinal) this.partial.classList.remove("partial");
      return;
    }
    const item = this.answers.get(turn);
    if (item) item.lastChild.textContent += ` ${text}`;
    else this.answers.set(turn, say("agent", text, `the agent, turn ${turn}`));
    follow();
  }

  /** What nobody heard is struck out: the conversation does not remember it. */
  heard({ turn, text, cut }) {
    const item = this.answers.get(turn);
    if (!item || !cut) return;
    const all = item.lastChild.textContent;
    const place = all.startsWith(text.trim()) ? text.trim().length : 0;
    const unheard = document.createElement("s");
    unheard.textContent = all.slice(place);
    unheard.setAttribute("aria-label", `not heard: ${unheard.textContent}`);
    item.lastChild.textContent = all.slice(0, place);
    item.lastChild.append(unheard);
  }
}
