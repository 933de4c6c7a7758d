package suite

import (
	"errors"
	"syscall"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/wire"
)

// A Greeting is what a program does when it is asked for nothing special.
type Greeting struct {
	Err     error  // it did not start, and why
	Crash   string // it ended by itself during the visit
	Listens bool
	// Answers are what came back for each of the Requests; nil where nothing did.
	Requests []string
	Answers  []*wire.Response
	Errs     []error
}

// Answered says whether anything at all came back.
func (g *Greeting) Answered() bool {
	for i := range g.Answers {
		if g.Answers[i] != nil || g.Errs[i] != nil && !record.Late(g.Errs[i]) && !wire.Closed(g.Errs[i]) && !errors.Is(g.Errs[i], syscall.ECONNRESET) {
			return true
		}
	}
	return false
}

// Greet starts the program once and makes a request on each of several fresh connections, for the
// statuses of the answers and for the way in which there are none. It waits for an answer
// no longer than d.
func Greet(prog *process.Program, d time.Duration, requests ...string) (*Greeting, error) {
	suite, err := newSuite(prog, nil)
	if err != nil {
		return nil, err
	}
	defer suite.close()
	g := &Greeting{Requests: requests}
	s, err := prog.Begin(process.Config{Root: suite.root.Dir})
	if err != nil {
		g.Err = err
		return g, nil
	}
	defer s.Dismiss()
	g.Listens = true
	for _, r := range requests {
		t := &T{Case: &Case{}, Program: prog}
		var resp *wire.Response
		t.Play(func(t *T) {
			c := t.DialTo(s, process.DialOptions{}).Patience(d)
			c.Send(r)
			resp, err = c.TryRead("GET")
		})
		if t.Failed() {
			resp, err = nil, errors.New(t.Log())
		}
		g.Answers, g.Errs = append(g.Answers, resp), append(g.Errs, err)
		if err != nil && record.Late(err) && !g.Answered() && len(g.Answers) > 1 {
			break // one is an accident, two are a habit
		}
		if s.Exited() {
			break
		}
	}
	// A crash is often slower than the end of the connection that it brings.
	if !g.Answered() {
		_, _, _ = s.Wait(100 * time.Millisecond)
	}
	g.Crash = s.Crashed()
	return g, nil
}
