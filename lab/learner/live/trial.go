package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// settlePatience is how long an experiment waits for servers and clients to be still.
const settlePatience = 5 * time.Second

// A trial is one run of an experiment.
type trial struct {
	w     *world
	ctx   context.Context
	e     *experiment
	guess int
	fresh []*client // the new client
	found findings

	mu     sync.Mutex
	note   string
	rows   []row
	right  int
	judged bool          // the answer is known
	more   chan struct{} // closed when the reader wants to go on; nil unless the trial waits for that
	left   bool          // the reader has left during a pause
	done   bool
	err    error
}

// A row is one observation, with a cell for each stage.
type row struct {
	Label string `json:"label"`
	Cells []cell `json:"cells"`
}

// A trialView is a trial as the page shows it.
type trialView struct {
	ID     string `json:"id"`
	Guess  int    `json:"guess"`
	Done   bool   `json:"done"`
	Note   string `json:"note"`  // what happens now
	Right  int    `json:"right"` // the choice that fits what happened, or -1
	Rows   []row  `json:"rows"`
	Why    string `json:"why"`
	Caveat string `json:"caveat"` // which servers with a bug took part
	Paused bool   `json:"paused"` // the reader must press a button to go on
	Error  string `json:"error"`
}

// begin starts an experiment in place of the last one.
func (w *world) begin(ctx context.Context, id string, guess int) error {
	e := experimentOf(id)
	if e == nil {
		return fmt.Errorf("there is no experiment %q", id)
	}
	if guess < 0 || guess >= len(e.choices) {
		return fmt.Errorf("the experiment has no choice %d", guess)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy() {
		return errBusy
	}
	t := &trial{w: w, ctx: ctx, e: e, guess: guess, right: -1, rows: []row{}}
	w.trial = t
	go t.play()
	return nil
}

var errBusy = errors.New("an experiment is running; it takes a few seconds")

// busy reports whether an experiment is running. The caller holds the lock.
func (w *world) busy() bool {
	if w.trial == nil {
		return false
	}
	w.trial.mu.Lock()
	defer w.trial.mu.Unlock()
	return !w.trial.done
}

// leave ends the look at an experiment, and its clients.
func (w *world) leave() error {
	w.mu.Lock()
	if w.trial != nil {
		w.trial.proceed(true)
	}
	if w.busy() {
		w.mu.Unlock()
		return errBusy
	}
	w.trial = nil
	w.mu.Unlock()
	w.hangUpAll()
	return nil
}

// play runs the experiment.
func (t *trial) play() {
	err := t.prepare()
	if err == nil {
		err = t.e.run(t)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.note, t.err, t.more = true, "", err, nil
	if err == nil {
		t.right, t.judged = t.e.judge(&t.found), true
	}
}

// prepare sends all clients away and waits until the servers are free.
func (t *trial) prepare() error {
	t.say("all other clients hang up")
	t.w.hangUpAll()
	calm := t.await(settlePatience, func(s *state) bool {
		return !slices.ContainsFunc(s.Stages, func(v stageView) bool {
			return v.State == "up" && (len(v.Conns) > 0 || v.Probe.Waiting)
		})
	})
	if !calm {
		return errors.New("a server does not become free: put the stage itself in its place, and try again")
	}
	return nil
}

// say tells the reader what happens now.
func (t *trial) say(note string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note = note
}

// row records an observation.
func (t *trial) row(label string, cells []cell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, row{label, cells})
}

// add adds clients of a kind to all stages, one after the other, so that they come in the same order everywhere.
func (t *trial) add(id string, n int) (all []*client) {
	k := kindOf(id)
	t.say(fmt.Sprintf("adding: %s", k.button))
	if n > 1 {
		t.say(fmt.Sprintf("adding: %d × %s", n, k.button))
	}
	for range n {
		c, err := t.w.connect(k, 0)
		if err != nil {
			continue
		}
		all = append(all, c)
		select {
		case <-c.ready:
		case <-t.ctx.Done():
		case <-time.After(settlePatience):
		}
	}
	return all
}

// await waits until ok holds for a state that was observed after the call, but at most for d.
func (t *trial) await(d time.Duration, ok func(*state) bool) bool {
	late := time.After(d)
	_, news := t.w.current()
	for {
		select {
		case <-late:
			return false
		case <-t.ctx.Done():
			return false
		case <-news:
		}
		var s *state
		if s, news = t.w.current(); ok(s) {
			return true
		}
	}
}

// settle waits until three observations in a row are alike, and no client is about to connect.
func (t *trial) settle() {
	last, same := "", 0
	t.await(settlePatience, func(s *state) bool {
		now := ""
		for _, v := range s.Stages {
			now += fmt.Sprintf("%d %s; ", v.N, inWords(without(v.Conns, probeID)))
			for _, c := range v.Conns {
				now += fmt.Sprint(c.Unacked, " ")
			}
		}
		if same++; now != last || slices.ContainsFunc(s.Clients, func(c clientView) bool { return c.connects() }) {
			same = 1
		}
		last = now
		return same >= 3
	})
}

// connects reports whether a connection of the client is not made yet.
func (c *clientView) connects() bool {
	return slices.ContainsFunc(c.Cells, func(c cell) bool { return strings.Contains(c.Text, connecting) })
}

// without returns the connections that do not belong to a client.
func without(conns []connView, id int) (others []connView) {
	for _, c := range conns {
		if c.Client != id {
			others = append(others, c)
		}
	}
	return others
}

// ask adds the new client, and lets it wait for a few seconds.
func (t *trial) ask() { t.askBy("quick") }

func (t *trial) askBy(kind string) {
	t.fresh = t.add(kind, 1)
	t.await(settlePatience, func(s *state) bool {
		return !slices.ContainsFunc(s.Clients, func(c clientView) bool { return c.connects() })
	})
	t.say(fmt.Sprintf("a new client asks for a small file; it gets %v", t.w.patience))
	t.await(t.w.patience, func(s *state) bool { return !t.waits(s) })
	outcomes := t.outcomes()
	for n := 1; n <= stageCount; n++ {
		t.found.answered[n] = outcomes[n-1].Mood == good
	}
	t.row("the new client"+t.letter(), outcomes)
}

// letter returns the name of the new client after a space, so that it can be found among the chips.
func (t *trial) letter() string {
	if len(t.fresh) == 0 {
		return ""
	}
	return " " + t.fresh[0].name
}

// waits reports whether the new client still waits for an answer.
func (t *trial) waits(s *state) bool {
	return slices.ContainsFunc(s.Clients, func(c clientView) bool {
		return len(t.fresh) > 0 && c.ID == t.fresh[0].id &&
			slices.ContainsFunc(c.Cells, func(c cell) bool { return c.Mood == waiting })
	})
}

// view returns the trial as the page shows it.
func (t *trial) view(stages []stageView) *trialView {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &trialView{ID: t.e.id, Guess: t.guess, Done: t.done, Note: t.note, Right: t.right, Rows: slices.Clone(t.rows), Paused: t.more != nil}
	if t.err != nil {
		v.Error = t.err.Error()
		return v
	}
	v.Caveat = caveat(stages)
	if t.judged {
		v.Why = t.e.why
		if v.Caveat != "" {
			v.Why = "Without the bug: " + v.Why
		}
	}
	return v
}
