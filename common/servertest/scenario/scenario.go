// Package scenario plays scenarios. In a [Scenario] a client meets one pitfall; every step of the client goes
// into a [Transcript], and so does what the threads of the server were doing. The scenarios themselves are
// in package pitfalls.
package scenario

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// A Scenario is how a client meets one pitfall: what it does, and by which assertion the broken
// server is told from the real one.
type Scenario struct {
	ID    string // the name of the folder in testdata/pitfalls
	Stage int    // the stage that is free of it, and proves it
	Bug   string // what is wrong with the broken server, in a line

	// Question is what the reader is asked before the run, about the broken server. Choices are
	// two to four possible answers, of which Answer is the index of the one that comes true; without
	// choices the reader answers freely.
	Question string
	Choices  []string
	Answer   int

	Assertion string           // the name of the one assertion that the broken server fails
	Usually   string           // "this usually means …": what to suspect where this is seen, in a line
	Where     []variants.Place // where the code is free of it; the first is the one to look at

	// Stages is where the scenario makes sense; zero is everywhere. Fails are those stages whose
	// technique has the bug, as stage 1 has head-of-line: there the assertion must fail.
	Stages stages.Set
	Fails  stages.Set

	Flags []string // of the server
	Env   []string
	// Stderr is a piece of what the real server says on stderr; "" is where it must say nothing.
	Stderr string
	// NoServer scenarios start their own with S.Begin: with a pipe for stdout, say.
	NoServer bool
	// Strace runs the server under strace(1), so that S.Calls can count its system calls. Where
	// there is no strace the scenario is skipped, or fails if CI=true.
	Strace []string
	// Needs says what the machine lacks for the scenario; "" is nothing.
	Needs func() string
	// Network says that it makes a network of its own, for which an ordinary user has to be in a
	// namespace already.
	Network bool

	Run func(s *S)
}

// In says whether the scenario makes sense in a stage.
func (sc *Scenario) In(stage int) bool { return sc.Stages == 0 || sc.Stages.Has(stage) }

// FailsIn says whether a stage has the bug by its technique.
func (sc *Scenario) FailsIn(stage int) bool { return sc.Fails.Has(stage) }

// A Verdict is how a run of a scenario ended.
type Verdict int

// The verdicts.
const (
	Free      Verdict = iota // the assertion holds: the server is free of the bug
	Caught                   // the assertion by which the scenario is named has failed
	Unplayed                 // something else went wrong: the run says nothing about the bug
	Unskilled                // the machine lacks what the scenario needs
)

func (v Verdict) String() string {
	return [...]string{"passes", "fails its assertion", "fails otherwise", "skipped"}[v]
}

// A Step is one line of a transcript.
type Step struct {
	Did string // what the client did
	Saw string // what it saw then
	Odd bool   // an assertion failed here
	// Threads are what the server's threads were doing here, if something was asserted here.
	Threads []string
}

// A Transcript is one run of a scenario.
type Transcript struct {
	Scenario Scenario
	Verdict  Verdict
	Reason   string // in words, unless the verdict is Free
	Steps    []Step
	Streams  []Stream // what the clients received, in the order in which they connected
	Threads  []string // what the server's threads were doing at the end
	Stderr   string   // of the server
	Took     time.Duration
}

// A Stream is what one client received, its first bytes if it is long. Dates and other
// things that are never the same twice are masked.
type Stream struct {
	Name  string
	Bytes []byte
	Total int64 // how many there were
}

// Play runs the scenario against a program.
func Play(sc Scenario, prog *process.Program, root *docroot.Root) *Transcript {
	start := time.Now()
	tr := &Transcript{Scenario: sc}
	defer func() { tr.Took = time.Since(start) }()
	if why := sc.lacks(); why != "" {
		tr.Verdict, tr.Reason = Unskilled, why
		return tr
	}
	s := &S{Program: prog, Root: root, tr: tr, Scenario: sc}
	s.Run(func() {
		defer s.finish()
		defer s.Recovered()
		if !sc.NoServer {
			s.Begin(process.Config{})
		}
		dog := time.AfterFunc(record.Watchdog, func() {
			s.Errorf("stuck for %v: its server is killed", record.Watchdog)
			if s.Server != nil {
				s.Server.Signal(syscall.SIGKILL)
			}
		})
		defer dog.Stop()
		sc.Run(s)
	})
	return tr
}

// S is what a scenario is given: a client's hands, and a transcript of what they did. A failure that
// is not from Assert is a failure of something else than the named assertion.
type S struct {
	record.Recorder
	Server  *process.Server // nil where the scenario is NoServer
	Program *process.Program
	Root    *docroot.Root

	Scenario Scenario
	tr       *Transcript
	peers    []*Peer
	spy      *spy // counts system calls
	odd      bool // the assertion failed
}

// Begin starts a server for the scenario; the rest of the run is about this one. Whatever the
// scenario does to it, it is killed in the end.
func (s *S) Begin(c process.Config) *process.Server {
	if c.Root == "" {
		c.Root = s.Root.Dir
	}
	c.Flags = slices.Concat(s.Scenario.Flags, c.Flags)
	c.Env = slices.Concat(s.Scenario.Env, c.Env)
	if s.Scenario.Strace != nil {
		s.spy = newSpy(s, s.Scenario.Strace)
		c.Wrap = slices.Concat(c.Wrap, s.spy.command())
	}
	server, err := s.Program.Begin(c)
	if err != nil {
		s.Fatalf("the server does not start: %v", err)
	}
	s.Server = server
	s.OnEnd(server.Kill)
	return server
}

// Stage is the stage that is measured.
func (s *S) Stage() int { return s.Program.Stage }

// patience is short where the scenario is going to fail anyway.
func (s *S) patience() time.Duration {
	if s.Scenario.Fails.Has(s.Program.Stage) {
		return time.Second
	}
	return s.Program.Guest.Patience()
}

// Step adds a step to the transcript: what the client does now.
func (s *S) Step(format string, args ...any) {
	s.tr.Steps = append(s.tr.Steps, Step{Did: fmt.Sprintf(format, args...)})
}

// Saw completes the step with what came of it. What is not the same in every run (a time, a
// number of calls) belongs in here only where that is the point: the first step at which two
// transcripts saw different things is where they part.
func (s *S) Saw(format string, args ...any) {
	if len(s.tr.Steps) == 0 {
		s.Step("looks")
	}
	last := &s.tr.Steps[len(s.tr.Steps)-1]
	if last.Saw != "" {
		last.Saw += "; "
	}
	last.Saw += fmt.Sprintf(format, args...)
}

// Assert is the named assertion: if it does not hold the scenario ends here, and the server has
// the bug. The words say what was seen instead.
func (s *S) Assert(holds bool, format string, args ...any) {
	if n := len(s.tr.Steps); n > 0 {
		s.tr.Steps[n-1].Odd = !holds
		if s.Server != nil { // it may have failed to start
			s.settle(holds)
			s.tr.Steps[n-1].Threads = s.threads()
		}
	}
	if !holds {
		s.odd = true
		s.Fatalf(format, args...)
	}
}

// settle gives the server a moment to go to sleep before its threads are looked at: longer where
// the look will be looked at.
func (s *S) settle(holds bool) {
	late := time.Now().Add(map[bool]time.Duration{true: tickTime, false: 5 * tickTime}[holds])
	for s.Server.Awake() && time.Now().Before(late) {
		time.Sleep(tickTime / 10)
	}
}

// Until waits until the answer is yes, and says whether it is. Like every wait of a scenario it ends
// when all of the server sleeps, or when it has used much CPU.
func (s *S) Until(ok func() bool) bool { return s.UntilAfter(0, ok) }

// UntilAfter is Until that lasts a while at least: for a server whose clock is to do something.
func (s *S) UntilAfter(atLeast time.Duration, ok func() bool) bool {
	for w := s.Watch(atLeast); ; {
		if ok() {
			return true
		}
		if w.Tick() != nil {
			return ok()
		}
	}
}

// Stalled waits until the server can send no more to a peer that does not read.
func (s *S) Stalled(p *Peer) {
	s.Until(func() bool { _, waits := s.Server.InCall(sendCalls...); return waits })
}

// sendCalls are the system calls in which a server may wait for a client to read.
var sendCalls = []string{"sendfile", "sendto", "sendmsg", "write", "writev"}

// Interrupt waits until a thread of the server waits in a send, and interrupts it with a
// signal that does nothing else. It returns false if none does: where sockets do not block, the send
// has returned early by itself.
func (s *S) Interrupt() bool {
	tid := 0
	if !s.Until(func() (waits bool) { tid, waits = s.Server.InCall(sendCalls...); return waits }) {
		return false
	}
	return unix.Tgkill(s.Server.PID(), tid, unix.SIGURG) == nil
}

// finish takes down how it ended, while the server is still as it was.
func (s *S) finish() {
	for _, p := range s.peers {
		s.tr.Streams = append(s.tr.Streams, p.stream())
	}
	if s.Server != nil {
		s.settle(false)
		s.tr.Threads = s.threads()
		s.tr.Stderr = s.Server.Stderr.String()
	}
	switch {
	case !s.Failed():
		return
	case s.odd:
		s.tr.Verdict = Caught
	default:
		s.tr.Verdict = Unplayed
	}
	s.tr.Reason = strings.TrimSpace(s.Log())
}
