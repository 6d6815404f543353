"""The one page of a server: it needs no other file, and everything that it shows is set as text."""

from __future__ import annotations

from .one_page import one_page

_STYLE = """
#drop { display: grid; place-items: center; min-height: 12rem; padding: 1rem; text-align: center; cursor: pointer;
  border: 2px dashed var(--line); border-radius: .5rem; }
#drop.over, #drop:focus-within { border-color: var(--mark); }
#drop input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.shown { display: block; width: 100%; max-height: 22rem; object-fit: contain; border-radius: .5rem;
  background: var(--back); }
#drop .shown { max-height: 16rem; margin-bottom: .5rem; }
.best { font-size: 1.5rem; font-weight: 600; overflow-wrap: anywhere; line-height: 1.25; margin-bottom: .5rem; }
ol { list-style: none; margin: 0; padding: 0; }
.scores li { position: relative; display: flex; gap: 1rem; justify-content: space-between; padding: .25rem .5rem;
  margin: .25rem 0;
  border-radius: .3rem; overflow: hidden; }
.scores span { position: relative; overflow-wrap: anywhere; }
.scores span + span { font-variant-numeric: tabular-nums; white-space: nowrap; }
.scores i { position: absolute; inset: 0 auto 0 0; background: var(--bar); }
#changes li { display: flex; gap: 1rem; border-top: 1px solid var(--line); padding: .3rem 0; }
#changes time { color: var(--soft); font-variant-numeric: tabular-nums; white-space: nowrap; }
#changes-title { margin: 1.25rem 0 .5rem; } #source { margin-top: .4rem; } #since { margin-bottom: .5rem; }
#changes span { overflow-wrap: anywhere; min-width: 0; }
"""

_BODY = """
<main>
<header><h1>Pocketlens</h1><p class="soft" id="model">reads the model</p></header>
<section id="login" hidden><h2>Token</h2>
<p>This server answers only with its token. It is kept until you close this tab.</p>
<form><input type="password" id="token" aria-label="Token" autocomplete="off" required>
<button>Use it</button></form></section>
<section id="live" hidden><h2>Live</h2><div class="two">
<div><img class="shown" id="picture" alt="The last frame of the source" hidden>
<p class="soft" id="source">waits for a frame</p></div>
<div><p class="best" id="state" aria-live="polite"></p><p class="soft" id="since"></p>
<ol class="scores" id="live-scores"></ol></div></div>
<h2 id="changes-title" hidden>Changes</h2><ol id="changes"></ol></section>
<section><h2>Try a picture</h2><div class="two">
<div><label id="drop"><span><img class="shown" id="tried" alt="The picture that is answered" hidden>
<span class="soft">Drop a picture here, or choose one</span></span>
<input type="file" id="file" accept="image/*"></label>
<video class="shown" id="video" muted playsinline hidden></video>
<div class="row"><button type="button" id="camera">Use this device's camera</button>
<p class="soft" id="camera-note"></p></div></div>
<div><p class="best" id="best" aria-live="polite"></p><ol class="scores" id="scores"></ol>
<p class="soft" id="took"></p><p class="bad" id="error" role="alert"></p></div></div></section>
<footer class="soft"><a href="openapi.json">openapi.json</a>
describes the requests: <code>POST /v1/classify</code></footer>
</main>
"""

_SCRIPT = """
"use strict";
const at = id => document.getElementById(id);
const MOST = 5, CAMERA_PAUSE = 250;
let token = sessionStorage.getItem("token") || "", urls = new Map(), stream = null;

function headers(more) { return token ? {...more, Authorization: "Bearer " + token} : {...more}; }

async function ask(path, options = {}) {
  const answer = await fetch(path, {...options, headers: headers(options.headers)});
  if (answer.status === 401) { at("login").hidden = false; }
  return answer;
}

function showPicture(image, blob) {
  const old = urls.get(image), url = URL.createObjectURL(blob);
  urls.set(image, url); image.src = url; image.hidden = false;
  if (old) { URL.revokeObjectURL(old); }
}

function percent(score) { return (100 * score).toFixed(1) + " %"; }

function showScores(list, scores) {
  list.replaceChildren(...scores.slice(0, MOST).map(([label, score]) => {
    const row = document.createElement("li"), bar = document.createElement("i");
    const name = document.createElement("span"), value = document.createElement("span");
    bar.style.width = Math.max(0, Math.min(100, 100 * score)) + "%";
    name.textContent = label; value.textContent = percent(score);
    row.append(bar, name, value); return row;
  }));
}

async function classify(blob) {
  const began = performance.now();
  try {
    const answer = await ask("v1/classify?top=" + MOST, {
      method: "POST", body: blob, headers: {"Content-Type": blob.type || "application/octet-stream"}});
    const found = await answer.json();
    if (!answer.ok) { throw new Error(found.error); }
    at("best").textContent = found.predictions[0].label;
    showScores(at("scores"), found.predictions.map(each => [each.label, each.score]));
    at("took").textContent = Math.round(performance.now() - began) + " ms"; at("error").textContent = "";
    return true;
  } catch (error) {
    at("best").textContent = at("took").textContent = ""; at("scores").replaceChildren();
    at("error").textContent = error.message; return false;
  }
}

function take(file) { if (file) { stopCamera(); showPicture(at("tried"), file); classify(file); } }

function stopCamera() {
  if (stream) { stream.getTracks().forEach(track => track.stop()); stream = null; }
  at("video").hidden = true; at("drop").hidden = false; at("camera").textContent = "Use this device's camera";
}

async function useCamera() {
  if (stream) { stopCamera(); return; }
  try { stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}}); }
  catch (error) { at("camera-note").textContent = "no camera: " + error.message; return; }
  const video = at("video"), canvas = document.createElement("canvas"), own = stream;
  at("camera").textContent = "Stop the camera"; at("drop").hidden = true; video.hidden = false;
  video.srcObject = stream; await video.play();
  while (stream === own) {
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise(done => canvas.toBlob(done, "image/jpeg", 0.9));
    if (stream !== own) { break; }
    if (blob && !await classify(blob)) { stopCamera(); break; }
    await new Promise(done => setTimeout(done, CAMERA_PAUSE));
  }
}

function clock(seconds) { return new Date(1000 * seconds).toLocaleTimeString(); }

function showChange(change) {
  const row = document.createElement("li"), when = document.createElement("time");
  const what = document.createElement("span");
  when.textContent = clock(change.since);
  what.textContent = change.label + " " + percent(change.score);
  row.append(when, what); at("changes").prepend(row); at("changes-title").hidden = false;
  while (at("changes").children.length > 20) { at("changes").lastChild.remove(); }
}

let fetching = false;
async function showFrame() {
  if (fetching) { return; }
  fetching = true;
  try { const answer = await ask("v1/live/picture.jpg");
    if (answer.ok) { showPicture(at("picture"), await answer.blob()); } }
  catch (error) { /* the next answer tries again */ }
  finally { fetching = false; }
}

const EVENTS = {
  history(changes) { at("changes").replaceChildren(); changes.forEach(showChange); },
  change: showChange,
  answer(answer) {
    at("state").textContent = answer.label;
    at("since").textContent = "since " + clock(answer.since) + "; the scores are those of the last frame";
    const age = answer.age_ms === null ? "" : ", answered after " + Math.round(answer.age_ms) + " ms";
    at("source").textContent = answer.source + ", " + clock(answer.time) + age;
    showScores(at("live-scores"), Object.entries(answer.scores)); showFrame();
  },
  problem(problem) { at("source").textContent = problem.error; at("source").className = "bad"; },
};

async function follow() {
  const answer = await ask("v1/live/events");
  if (answer.status === 404 || answer.status === 401) { return false; }
  if (!answer.ok) { throw new Error((await answer.json()).error); }
  at("live").hidden = false;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) { return true; }
    const parts = (rest + value).split("\\n\\n");
    rest = parts.pop();
    for (const part of parts) {
      const found = part.match(/^event: (\\w+)\\ndata: (.*)$/);
      if (found) { EVENTS[found[1]](JSON.parse(found[2])); }
    }
  }
}

async function followAgain() {
  for (let pause = 1000; ; pause = Math.min(2 * pause, 30000)) {
    try { if (!await follow()) { return; } pause = 1000; }
    catch (error) { at("source").textContent = "no connection: " + error.message; }
    await new Promise(done => setTimeout(done, pause));
  }
}

async function start() {
  try {
    const answer = await ask("v1/model");
    if (answer.status === 401) { return; }
    at("login").hidden = true;
    const model = await answer.json();
    at("model").textContent = model.labels.length + " labels: " + model.labels.slice(0, 8).join(", ") +
      (model.labels.length > 8 ? ", ..." : "");
    followAgain();
  } catch (error) { at("model").textContent = "no connection: " + error.message; }
}

const drop = at("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, event => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) { drop.addEventListener(name, () => drop.classList.remove("over")); }
for (const name of ["dragover", "drop"]) { document.addEventListener(name, event => event.preventDefault()); }
drop.addEventListener("drop", event => take(event.dataTransfer.files[0]));
document.addEventListener("paste", event => take(event.clipboardData.files[0]));
at("file").addEventListener("change", event => take(event.target.files[0]));
at("camera").addEventListener("click", useCamera);
if (!navigator.mediaDevices) {
  at("camera").hidden = true;
  at("camera-note").textContent = "The camera works only over https, or at localhost.";
}
at("login").querySelector("form").addEventListener("submit", event => {
  event.preventDefault(); token = at("token").value; sessionStorage.setItem("token", token); start();
});
start();
"""


PAGE = one_page("Pocketlens", _STYLE, _BODY, _SCRIPT)
