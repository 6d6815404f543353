"""The script of the page on which pictures are labelled.

A decision is shown at once, and sent behind it; the next pictures are there before they are needed.
"""

REVIEW_SCRIPT = """
"use strict";
const at = id => document.getElementById(id);
const AHEAD = 24, PICTURES_AHEAD = 10, FEW = 10, RETRY_MS = 1500;
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
const ARROWS = {ArrowDown: 1, ArrowUp: -1};
const REASONS = {uncertain: "the model was not sure", random: "chosen at random"};
const STAGES = {notes: "reads what is known of the pictures", dataset: "looks at the data set",
  pictures: "looks at the pictures", copies: "looks for near copies"};

let token = "", classes = [], queue = [], current = null, chosen = null, keys = new Map(), state = {}, outbox = [];
let filling = false, stage = "", gone = new Set(), offline = false, epoch = 0, result = "";

/* The address has the token, or a code that is exchanged for it once. Neither stays in the address. */
async function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)), code = given.get("once");
  history.replaceState(null, "", location.pathname);
  token = given.get("token") || sessionStorage.getItem("review-token") || "";
  if (code) { token = (await answerOf(await post("v1/token", {code}))).token; }
  sessionStorage.setItem("review-token", token);
}

function ask(path, options = {}) {
  return fetch(path, {...options, headers: {...options.headers, Authorization: "Bearer " + token}});
}

async function answerOf(answer) {
  const found = await answer.json();
  if (!answer.ok) { throw Object.assign(new Error(found.error), {status: answer.status}); }
  return found;
}

function problem(text) { at("problem").textContent = text; at("problem").hidden = !text; }

/* What a screen reader says: what was done, and then what is shown next. */
function say(text, isResult) {
  at("said").textContent = isResult ? text : result + text;
  result = isResult ? text + ". " : "";
}

/* The pictures that come next, and their content. */

function load(item, small) {
  return ask("v1/pictures/" + item + (small ? "?small" : "")).then(async answer => {
    if (!answer.ok) { await answerOf(answer); }
    return URL.createObjectURL(await answer.blob());
  });
}

function prepare() {
  for (const item of queue.slice(0, PICTURES_AHEAD)) {
    if (!item.url) {
      item.url = load(item.place, false);
      item.url.then(url => { const image = new Image(); image.src = url; item.image = image; return image.decode(); })
        .catch(() => {});
    }
  }
}

function drop(item) {
  if (item && item.url) { item.url.then(url => URL.revokeObjectURL(url)).catch(() => {}); }
}

async function fill() {
  if (filling) { return; }
  filling = true;
  const before = epoch, held = new Set(outbox.map(one => one.item.place));
  try {
    const found = await answerOf(await ask("v1/pictures?count=" + (AHEAD + outbox.length)));
    progress(found);
    if (before === epoch) {
      const known = new Map(queue.map(item => [item.place, item]));
      outbox.forEach(one => held.add(one.item.place));
      if (current) { held.add(current.place); }
      const wanted = found.pictures.filter(item => !gone.has(item.place) && !held.has(item.place));
      for (const item of wanted) {
        const old = known.get(item.place);
        if (old) { item.url = old.url; item.image = old.image; }
      }
      const places = new Set(wanted.map(item => item.place));
      queue.filter(item => !places.has(item.place)).forEach(drop);
      queue = wanted;
      prepare();
    }
    if (offline) { offline = false; problem(""); }
  } catch (error) { failed(error); }
  filling = false;
  if (before !== epoch) { await fill(); return; }
  if (!current) { next(); }
}

function failed(error) {
  if (error.status === 401) {
    problem("This page has not the right token. Open the address that `pocketlens review` has printed.");
  } else {
    offline = true;
    problem("No answer from `pocketlens review`: " + error.message + ". Is it still running?");
  }
}

function next() {
  drop(current);
  current = queue.shift() || null;
  prepare();
  if (current) { show(); } else { showEnd(); }
  if (queue.length < AHEAD / 2 && (current || outbox.length)) { fill(); }
}

/* What is shown. */

async function show() {
  const item = current;
  at("work").hidden = false; at("end").hidden = true;
  describe(item); showClasses(item); showCopies(item);
  const image = at("picture");
  if (item.image && item.image.complete) { image.src = item.image.src; image.dataset.place = item.place; return; }
  image.removeAttribute("src");
  if (!item.url) { item.url = load(item.place, false); }
  try {
    const url = await item.url;
    if (current === item) { image.src = url; image.dataset.place = item.place; }
  } catch (error) {
    if (current !== item) { return; }
    item.url = null;
    if (error.status === 410) {
      gone.add(item.place); say("a picture cannot be read, and is set aside", true); next();
      return;
    }
    failed(error);
    setTimeout(() => { if (current === item) { show(); } }, RETRY_MS);
  }
}

function describe(item) {
  const parts = [item.device, item.time && new Date(item.time).toLocaleString(), REASONS[item.reason]].filter(Boolean);
  const copies = item.copies.length;
  if (copies) { parts.push("with " + copies + (copies === 1 ? " near copy" : " near copies")); }
  at("about").textContent = (parts.length ? parts.join(", ") + " \\u2013 " : "") + item.name;
  const guess = item.scores.length ? ", probably " + item.scores[0][0] : "";
  at("picture").alt = "Picture" + (item.device ? " from " + item.device : "") + guess;
  say("Next picture" + guess + (copies ? ", with " + copies + " near copies" : ""));
}

function showCopies(item) {
  at("copies").hidden = !item.copies.length;
  at("thumbs").replaceChildren();
  if (!item.copies.length) { return; }
  const one = item.copies.length === 1;
  at("copies-text").textContent = item.copies.length + (one ? " near copy gets" : " near copies get") +
    " the same decision and " + (one ? "stays" : "stay") + " out of the data set:";
  for (const place of item.copies.slice(0, 6)) {
    const image = new Image(); image.alt = "near copy"; at("thumbs").append(image);
    load(place, true).then(url => { image.onload = () => URL.revokeObjectURL(url); image.src = url; }).catch(() => {});
  }
}

function inOrder(item) {
  if (classes.length <= FEW) { return classes; }
  const guesses = item.scores.map(each => each[0]);
  const word = at("find").value.trim().toLowerCase();
  const rest = classes.filter(name => !guesses.includes(name));
  const every = [...guesses, ...rest];
  if (!word) { return every; }
  const starts = every.filter(name => name.toLowerCase().startsWith(word));
  return [...starts, ...every.filter(name => !starts.includes(name) && name.toLowerCase().includes(word))];
}

function keysFor(names) {
  const areDigits = names.length <= FEW && names.every(name => /^[0-9]$/.test(name));
  return new Map(names.slice(0, DIGITS.length).map((name, index) => [areDigits ? name : DIGITS[index], name]));
}

function showClasses(item) {
  const names = inOrder(item), scores = new Map(item.scores), word = at("find").value.trim();
  keys = word ? new Map() : keysFor(names);
  const keyOf = new Map([...keys].map(([key, name]) => [name, key])), focused = document.activeElement.dataset.name;
  at("classes").replaceChildren(...names.slice(0, 200).map(name => {
    const button = document.createElement("button"), text = document.createElement("span"), key = keyOf.get(name);
    button.type = "button"; button.dataset.name = name;
    text.className = "name"; text.textContent = name;
    if (key) {
      const mark = document.createElement("kbd"); mark.textContent = key; button.append(mark);
      button.setAttribute("aria-keyshortcuts", key);
    }
    button.append(text);
    const score = scores.get(name);
    if (score !== undefined) {
      const value = document.createElement("span"), bar = document.createElement("i");
      value.className = "score"; value.textContent = Math.round(100 * score) + " %";
      bar.style.right = Math.max(0, Math.min(100, 100 - 100 * score)) + "%"; button.append(value, bar);
    }
    return button;
  }));
  const again = [...at("classes").children].find(button => button.dataset.name === focused);
  if (again) { again.focus(); }
  choose(word ? names[0] : (item.scores.length ? item.scores[0][0] : null));
}

function choose(name) {
  chosen = name === undefined ? null : name;
  for (const button of at("classes").children) {
    const is = button.dataset.name === chosen;
    button.classList.toggle("chosen", is);
    if (!is) { button.removeAttribute("aria-current"); continue; }
    button.setAttribute("aria-current", "true");
    if (at("find").value) { button.scrollIntoView({block: "nearest"}); }
  }
  at("accept").disabled = chosen === null;
  at("accept-text").textContent = chosen === null ? "No guess" : "Take " + chosen;
}

function move(step) {
  const names = [...at("classes").children].map(button => button.dataset.name);
  if (!names.length) { return; }
  choose(names[(Math.max(0, names.indexOf(chosen)) + step + names.length) % names.length]);
}

function progress(news) {
  const found = news.revision < state.revision ? {...state, stage: news.stage, done: news.done} : news;
  state = found;
  const waiting = found.waiting + found.skipped, total = waiting + found.decided;
  const parts = [found.decided.toLocaleString() + " of " + total.toLocaleString() + " done"];
  if (found.skipped) { parts.push(found.skipped.toLocaleString() + " skipped"); }
  if (found.unreadable) { parts.push(found.unreadable.toLocaleString() + " cannot be read"); }
  if (outbox.length > 2) { parts.push(outbox.length + " being saved"); }
  at("counts").textContent = parts.join(", ");
  at("bar").max = Math.max(1, total); at("bar").value = found.decided;
  const of = found.stage === "dataset" ? "" : " of " + (total + found.unreadable).toLocaleString();
  const done = found.done ? ", " + found.done.toLocaleString() + of : "";
  at("sorting").textContent = found.stage === "ready" ? "" :
    "Sorting: " + STAGES[found.stage] + done + ". You can label meanwhile.";
  if (stage && stage !== found.stage) { epoch += 1; }
  stage = found.stage;
}

function showEnd() {
  if (outbox.length || filling) { return; }
  at("work").hidden = true; at("end").hidden = !("waiting" in state);
}

/* Decisions: shown at once, sent behind it, sent again where there was no answer. */

function decide(action, label) {
  if (!current) { return; }
  const item = current;
  if (action !== "skip") { [item.place, ...item.copies].forEach(place => gone.add(place)); }
  outbox.push({item, action, label: label || ""});
  say(action === "label" ? "labelled " + label : action === "none" ? "none of these" : "skipped", true);
  at("find").value = "";
  chosen = null;
  queue = queue.filter(other => !item.copies.includes(other.place));
  send(outbox[outbox.length - 1]);
  next();
}

function post(path, value) {
  const headers = {"Content-Type": "application/json"};
  return ask(path, {method: "POST", body: JSON.stringify(value), keepalive: true, headers});
}

function asSent(one) {
  return {picture: one.item.place, action: one.action, label: one.label, alone: Boolean(one.item.alone)};
}

/* Each goes at once, so that a tab that is closed loses none. */
async function send(one) {
  while (outbox.includes(one)) {
    try {
      const found = await answerOf(await post("v1/decisions", asSent(one)));
      outbox = outbox.filter(other => other !== one);
      if (one.action === "skip") { epoch += 1; }
      progress(found);
      if (offline) { offline = false; problem(""); }
    } catch (error) {
      const isFinal = error.status && error.status !== 503 && error.status !== 507;
      if (isFinal) { outbox = outbox.filter(other => other !== one); }
      if (error.status && error.status !== 401) {
        problem(error.message + (isFinal ? "" : ". It is tried again.")); offline = !isFinal;
      } else { failed(error); }
      if (!isFinal) { await new Promise(done => setTimeout(done, RETRY_MS)); }
    }
  }
  if (!current) { await fill(); }
}

async function undo() {
  while (outbox.length && token) { await new Promise(done => setTimeout(done, 20)); }
  try {
    const found = await answerOf(await post("v1/undo", {}));
    epoch += 1;
    if (found.picture) {
      gone.delete(found.picture.place); found.picture.copies.forEach(place => gone.delete(place));
      if (current) { queue.unshift(current); }
      queue = queue.filter(item => item.place !== found.picture.place && !found.picture.copies.includes(item.place));
      current = found.picture; at("find").value = "";
      progress(found); prepare(); say("undone", true); show();
    } else { say("there is nothing to undo", true); progress(found); }
  } catch (error) { problem(error.message); }
}

function alone() {
  if (!current || !current.copies.length) { return; }
  current.alone = true; current.copies = [];
  showCopies(current); say("the near copies come one by one", true);
}

/* Keys and fingers. */

function onKey(event) {
  if (event.ctrlKey && event.key === "z") { event.preventDefault(); undo(); return; }
  if (event.ctrlKey || event.altKey || event.metaKey || !token) { return; }
  const isTyping = event.target === at("find") && at("find").value !== "";
  const onButton = event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ");
  if (onButton) { return; }
  const done = (action, ...values) => { event.preventDefault(); if (!event.repeat) { action(...values); } };
  if (event.key === "Enter") { done(() => { if (chosen !== null) { decide("label", chosen); } }); }
  else if (ARROWS[event.key]) { event.preventDefault(); move(ARROWS[event.key]); }
  else if (event.key === "Escape") { at("find").value = ""; if (current) { showClasses(current); } }
  else if (isTyping) { return; }
  else if (keys.has(event.key) && current) { done(decide, "label", keys.get(event.key)); }
  else if (event.key === "-" || event.key === "Delete") { done(decide, "none"); }
  else if (event.key === " ") { done(decide, "skip"); }
  else if (event.key === "Backspace") { done(undo); }
  else if (event.key === "+") { done(alone); }
  else if (event.key.length === 1 && !at("find").hidden) { at("find").focus(); }
}

function click(id, action) {
  at(id).addEventListener("click", event => { if (event.detail) { at(id).blur(); } action(); });
}

document.addEventListener("keydown", onKey);
at("find").addEventListener("input", () => { chosen = null; if (current) { showClasses(current); } });
at("classes").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) { if (event.detail) { button.blur(); } decide("label", button.dataset.name); }
});
click("accept", () => { if (chosen !== null) { decide("label", chosen); } });
click("none", () => decide("none"));
click("skip", () => decide("skip"));
click("undo", undo);
click("end-undo", undo);
click("alone", alone);
addEventListener("beforeunload", event => { if (outbox.length && offline) { event.preventDefault(); } });

async function watch() {
  for (;;) {
    await new Promise(done => setTimeout(done, stage === "ready" ? 10000 : 700));
    if (stage !== "ready" || offline) {
      const before = stage;
      try { progress(await answerOf(await ask("v1/review"))); if (offline) { offline = false; problem(""); } }
      catch (error) { failed(error); if (error.status === 401) { return; } }
      if (stage !== before || !current) { await fill(); }
      if (stage !== before && current && current.copies && !current.alone) { refresh(); }
    }
  }
}

/* The picture that is shown stays; what is known of it may have grown. */
async function refresh() {
  const item = current;
  try {
    const found = await answerOf(await ask("v1/pictures/" + item.place + "/about"));
    if (current !== item || at("find").value) { return; }
    for (const name of ["scores", "copies", "device", "time", "reason"]) { item[name] = found[name]; }
    describe(item); if (chosen === null) { showClasses(item); } showCopies(item);
  } catch (error) { /* it stays as it is */ }
}

async function start() {
  try {
    await takeToken();
    const review = await answerOf(await ask("v1/review"));
    classes = review.classes;
    at("find").hidden = classes.length <= FEW;
    at("where").textContent = "From " + review.folder + " into " + review.dataset;
    progress(review);
    await fill();
    watch();
  } catch (error) { failed(error); at("counts").textContent = ""; }
}
start();
"""
