"""The page on which pictures are labelled: one file, for keys and for fingers."""

from __future__ import annotations

from runtime.serve.one_page import one_page

from .page_script import REVIEW_SCRIPT

_STYLE = """
main { max-width: 76rem; gap: .75rem; }
header { align-items: center; gap: .25rem 1rem; }
header p { overflow-wrap: anywhere; min-width: 0; }
#bar { flex: 1 1 8rem; height: .6rem; accent-color: var(--mark); border: 0; border-radius: .3rem; overflow: hidden;
  background: var(--line); }
#bar::-webkit-progress-bar { background: var(--line); }
#bar::-webkit-progress-value { background: var(--mark); }
#bar::-moz-progress-bar { background: var(--mark); }
#work { display: grid; gap: .75rem; }
#stage { padding: 0; overflow: hidden; display: grid; }
#frame { display: grid; place-items: center; height: 36vh; background: var(--back); }
#picture { width: 100%; height: 100%; object-fit: contain; min-width: 0; min-height: 0; }
#about { padding: .5rem .75rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
#copies { padding: .5rem .75rem; display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: center; }
#copies-text { width: 100%; }
#thumbs { display: flex; flex-wrap: wrap; gap: .4rem; }
#alone { min-height: 2.75rem; }
#thumbs img { width: 4rem; height: 4rem; object-fit: cover; border-radius: .3rem; background: var(--line); }
#find { width: 100%; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: .4rem; margin-bottom: .6rem;
  background: var(--back); }
#classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .4rem; max-height: 50vh;
  overflow-y: auto; padding: 2px; }
#classes button { position: relative; overflow: hidden; display: flex; align-items: center; gap: .6rem; min-width: 0;
  min-height: 2.75rem; padding: .3rem .6rem; text-align: left; }
#classes i { position: absolute; inset: auto 0 0 0; height: .25rem; background: var(--mark); opacity: .55; }
#classes .name { position: relative; flex: 1; overflow-wrap: anywhere; min-width: 0; }
#classes .score { position: relative; color: var(--soft); font-variant-numeric: tabular-nums; white-space: nowrap; }
#classes .chosen { border-color: var(--mark); box-shadow: 0 0 0 1px var(--mark); background: var(--bar);
  font-weight: 600; }
#classes .chosen .score { color: inherit; }
kbd { position: relative; font: .85rem/1.4 ui-monospace, monospace; border: 1px solid var(--line); border-radius: .3rem;
  padding: 0 .4rem; background: var(--back); color: var(--soft); white-space: nowrap; }
#actions { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .4rem; margin-top: .6rem; }
#actions button { min-height: 2.75rem; display: flex; justify-content: center; align-items: center; gap: .5rem; }
#accept { background: var(--mark); color: var(--card); border-color: var(--mark); font-weight: 600; }
#accept-text { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; }
#accept kbd { background: transparent; color: inherit; border-color: currentColor; }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
.hidden-text { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
@media (max-width: 51.99rem) { kbd { display: none; } #classes { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  #actions { position: sticky; bottom: 0; background: var(--card); padding: .4rem 0; } main { padding: .6rem; } }
@media (min-width: 52rem) {
  #work { grid-template: "stage label" auto "copies label" 1fr / 3fr 2fr; align-items: start; }
  #stage { grid-area: stage; } #label { grid-area: label; } #copies { grid-area: copies; } #frame { height: 64vh; } }
"""

_BODY = """
<main>
<header><h1>Review</h1><p class="soft" id="counts">reads the pictures</p>
<progress id="bar" aria-label="Pictures with a decision" max="1" value="0"></progress></header>
<p class="bad" id="problem" role="alert" hidden></p>
<div id="work" hidden>
<section id="stage" aria-label="Picture"><div id="frame"><img id="picture" alt=""></div>
<p class="soft" id="about"></p></section>
<section id="label" aria-label="Label">
<input id="find" type="text" aria-label="Find a class" placeholder="Type to find a class" autocomplete="off"
 spellcheck="false" autocapitalize="off" hidden>
<div id="classes" role="group" aria-label="Classes"></div>
<div id="actions">
<button type="button" id="accept" aria-keyshortcuts="Enter"><span id="accept-text">Take</span> <kbd>Enter</kbd></button>
<button type="button" id="none" aria-keyshortcuts="-">None of these <kbd>-</kbd></button>
<button type="button" id="skip" aria-keyshortcuts="Space">Skip <kbd>Space</kbd></button>
<button type="button" id="undo" aria-keyshortcuts="Backspace">Undo <kbd>Backspace</kbd></button>
</div></section>
<section id="copies" aria-label="Near copies" hidden><p id="copies-text"></p><div id="thumbs"></div>
<button type="button" id="alone">Label them one by one <kbd>+</kbd></button></section></div>
<section id="end" hidden><h2>All pictures have a decision</h2>
<p>You may close this page. End <code>pocketlens review</code> with Ctrl-C.</p>
<p class="row"><button type="button" id="end-undo">Undo the last one</button></p></section>
<footer class="soft"><p id="where"></p><p id="sorting"></p></footer>
<p class="hidden-text" id="said" role="status" aria-live="polite"></p>
</main>
"""

REVIEW_PAGE = one_page("Review \N{EN DASH} Pocketlens", _STYLE, _BODY, REVIEW_SCRIPT)
