package suite

import (
	"errors"
	"syscall"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/wire"
)

// A Greeting is the reaction of a program to its start and to a few ordinary requests.
type Greeting struct {
	Err     error  // why the program did not start
	Crash   string // how it exited by itself
	Listens bool   // it accepts connections
	// Answers has a response for each request that was tried, or nil if none came.
	Requests []string
	Answers  []*wire.Response
	Errs     []error
}

// Answered reports whether the program sent anything, even if it was no HTTP response.
func (g *Greeting) Answered() bool {
	for i := range g.Answers {
		if g.Answers[i] != nil || g.Errs[i] != nil && !record.Late(g.Errs[i]) && !wire.Closed(g.Errs[i]) && !errors.Is(g.Errs[i], syscall.ECONNRESET) {
			return true
		}
	}
	return false
}

// Greet starts the program and sends each request on a fresh connection. It waits at most d for each response.
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
			break // no answer twice: the rest would only wait as well
		}
		if s.Exited() {
			break
		}
	}
	// The kernel often closes the connections of a crashing process before its exit is seen.
	if !g.Answered() {
		_, _, _ = s.Wait(100 * time.Millisecond)
	}
	g.Crash = s.Crashed()
	return g, nil
}
