package browser

import (
	"fmt"
	"math"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// add presses the button of a kind and waits until the new client appears. It returns the client's letter, and notes which
// ports it uses.
func (v *livePage) add(kind string) string {
	v.t.Helper()
	v.prune()
	rows := eval[int](v, `document.querySelectorAll("#rows tr").length`)
	v.do("add "+kind,
		until(fmt.Sprintf(`!document.querySelector("[data-kind=%s]").disabled`, kind)),
		click(fmt.Sprintf("[data-kind=%s]", kind)),
		until(fmt.Sprintf(`document.querySelectorAll("#rows tr").length > %d`, rows)),
		until(`[...document.querySelectorAll("#rows tr:last-child .text")].every((e) => !e.innerText.includes("connects"))`),
		gone("#error"),
	)
	name := eval[string](v, `document.querySelector("#rows tr:last-child .who").innerText`)
	v.learn(name)
	return name
}

// row is the selector of a client's row. Letters are unique on the page.
func (v *livePage) row(name string) string {
	v.t.Helper()
	return "#" + eval[string](v, fmt.Sprintf(`[...document.querySelectorAll("#rows tr")].find((tr) => tr.querySelector(".who").innerText === %q)?.id`, name))
}

// sees waits until a client sees a text at a stage.
func (v *livePage) sees(name string, stage int, text string) {
	v.t.Helper()
	v.do(fmt.Sprintf("client %s at stage %d", name, stage), says(fmt.Sprintf(`%s [data-stage="%d"]`, v.row(name), stage), text))
}

// everyKind adds a client of each kind, checks what it sees, and sends it on.
func (v *livePage) everyKind() {
	v.t.Helper()
	quick := v.add("quick")
	for stage := 1; stage <= 4; stage++ {
		v.sees(quick, stage, "answered")
	}
	pipeline := v.add("pipeline")
	v.sees(pipeline, 4, "5 answers")
	six := v.add("ipv6")
	v.sees(six, 1, "refused")
	v.sees(six, 3, "answered")

	half := v.add("half")
	unread := v.add("unread")
	idle := v.add("idle")
	crowd := v.add("crowd")
	v.sees(half, 1, "the thread")
	v.sees(unread, 2, "thread")
	v.sees(unread, 2, "reads nothing")
	v.sees(idle, 1, "backlog")
	v.sees(crowd, 1, "100 silent")
	v.sees(crowd, 4, "loop 2")
	v.do("the queue is full", says("#stage-2 .queue-count", "5 (4 in the queue, 1 with the acceptor)"),
		says("#stage-2 .threads", "waits until the queue has room"), says("#stage-3 .threads", "waits until the queue has room"))
	v.do("the new client waits", says("#stage-1 .probe", "still waiting"), says("#stage-2 .probe", "still waiting"),
		says("#stage-4 .probe", "answered"), says("#stage-1 .shut", "No thread waits"))
	v.do("details", run(`for (const d of document.querySelectorAll("details")) d.open = true`))
	v.agrees()
	v.layout()

	v.press(crowd, "leave")
	v.press(half, "step")
	v.sees(half, 1, "after the other half")
	v.press(unread, "step")
	v.sees(unread, 1, "read all 64 MiB; had paused for")
	v.sees(unread, 4, "read all 64 MiB")
	v.press(idle, "step")
	v.sees(idle, 1, "answered; stays connected")
	v.agrees()
	v.press(idle, "leave")
	v.hangUpAll()
}

// press presses a button of a client.
func (v *livePage) press(name, button string) {
	v.t.Helper()
	row := v.row(name)
	v.do("client "+name+": "+button, visible(row+" ."+button), click(row+" ."+button))
	if button == "leave" {
		v.do(name+" leaves", until(fmt.Sprintf("!document.querySelector(%q)", row)))
		for key, owner := range v.owned {
			if owner == name {
				v.owned[key] = "left"
			}
		}
	}
}

func (v *livePage) hangUpAll() {
	v.t.Helper()
	clear(v.owned)
	v.do("all hang up",
		click("#hang-up"), gone("#clients"),
		until(`[...document.querySelectorAll(".verdict")].filter((e) => e.innerText === "answered").length === 4`),
		until(`[...document.querySelectorAll(".conn-count")].every((e) => e.innerText === "0")`),
	)
}

// oneStage adds a client to one stage only.
func (v *livePage) oneStage(stage int) {
	v.t.Helper()
	v.do("one stage", run(fmt.Sprintf(`document.querySelector("#only").value = %d`, stage)))
	idle := v.add("idle")
	for n := 1; n <= 4; n++ {
		if n == stage {
			v.sees(idle, n, "silent")
		} else {
			v.sees(idle, n, "not connected")
		}
	}
	v.do("all stages", run(`document.querySelector("#only").value = 0`))
	v.hangUpAll()
}

// keyboard adds a client and sends it away by keys alone. The focus must be visible, and stay where it is while the page
// is updated.
func (v *livePage) keyboard() {
	v.t.Helper()
	v.do("by keyboard", run(`document.querySelector("[data-kind=idle]").focus()`), chromedp.KeyEvent(kb.Enter), visible("#rows .leave"))
	const focused = `document.activeElement.className`
	for n := 0; eval[string](v, focused) != "step"; n++ {
		if n > 60 {
			v.t.Fatal("60 times Tab do not lead to the client's button")
		}
		v.do("tab", chromedp.KeyEvent(kb.Tab))
		if outline := eval[string](v, `document.activeElement === document.body ? "solid" : getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
			v.t.Errorf("no outline shows the focus on %s", eval[string](v, `document.activeElement.outerHTML.slice(0, 80)`))
		}
	}
	v.do("an answer", chromedp.KeyEvent(kb.Enter), says("#rows", "answered; stays connected"),
		run(`window.updates = 0; new MutationObserver(() => updates++).observe(document.querySelector("#stages"), { subtree: true, childList: true, characterData: true })`))
	const top = `document.activeElement.getBoundingClientRect().top`
	before := eval[float64](v, top)
	v.do("several updates", until(`updates > 5`))
	if now := eval[string](v, focused); now != "step" {
		v.t.Errorf("the focus is on %q after updates", now)
	}
	if now := eval[float64](v, top); math.Abs(now-before) > 2 {
		v.t.Errorf("updates move the focused button from %v to %v", before, now)
	}
	v.do("leave by keyboard", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter), gone("#clients"))
}

// pitfall puts a broken server into the place of stage 2, and the stage back.
func (v *livePage) pitfall() {
	v.t.Helper()
	choose := func(id string) chromedp.Action[chromedp.Void] {
		return run(fmt.Sprintf(`(() => { const s = document.querySelector("#stage-2 select"); s.value = %q; s.dispatchEvent(new Event("change")); })()`, id))
	}
	v.do("head-of-line", choose("head-of-line"), visible("#stage-2 .bug"), says("#stage-2 .verdict", "answered"))
	idle := v.add("idle")
	v.do("one client takes all", says("#stage-2 .probe", "still waiting"), says("#stage-3 .probe", "answered"),
		says("#stage-2 .threads", "the thread"), says("#stage-2 .others", "other threads (Go runtime and idle workers)"))
	v.press(idle, "leave")
	v.do("the stage again", choose(""), gone("#stage-2 .bug"), says("#stage-2 .verdict", "answered"))
	v.live.pids = v.snapshot().pids()
}

// A liveExperiment is an experiment, and the answer that the four stages give.
type liveExperiment struct {
	id    string
	right int
	says  []string // what the table of the findings contains
}

var liveExperiments = []liveExperiment{
	{"half", 1, []string{"no answer for", "the only thread, in poll", "1 of 4 threads, in poll", "a loop, in epoll_wait, for all its clients", "after the other half"}},
	{"pool", 2, []string{"no answer for", "4 have a thread each", "accepted without a thread"}},
	{"unread", 1, []string{"of 64 MiB", "1 of 4 threads, in sendfile"}},
	{"ipv6", 1, []string{"refused", "answered"}},
	{"crowd", 1, []string{"50 in loop 1", "91 in the backlog"}},
}

// experiment guesses, and checks what the page says has happened.
func (v *livePage) experiment(e liveExperiment) {
	v.t.Helper()
	v.do("experiment "+e.id,
		click(fmt.Sprintf("[data-experiment=%s]", e.id)), visible("#experiment form"),
		click("#experiment .see"), says("#experiment .note", "Choose an answer first"),
		click("#experiment [data-choice='0']"), click("#experiment .see"),
		gone("#experiment .see"),
	)
	if e.id == "half" { // the evidence stays until the reader goes on
		v.do("the other half", visible("#experiment .more"), says("#experiment .verdict", "Your guess was not what happened."),
			says("#experiment .found", "no answer for"), click("#experiment .more"))
	}
	v.do("end of "+e.id,
		gone("#experiment .more"),
		until(`!document.querySelector("#experiment .back").disabled`),
		visible("#experiment .why"),
		says("#experiment .verdict", "Your guess was not what happened."),
		says(fmt.Sprintf("#experiment [data-choice='%d']", e.right), "what happened"),
		says("#experiment [data-choice='0']", "your guess"),
	)
	found := eval[string](v, `document.querySelector("#experiment .found").innerText`)
	for _, text := range e.says {
		if !strings.Contains(found, text) {
			v.t.Errorf("experiment %s does not say %q:\n%s", e.id, text, found)
		}
	}
	v.layout()
	v.do("back from "+e.id, click("#experiment .back"), visible("#experiments"), gone("#experiment"), gone("#clients"))
}
