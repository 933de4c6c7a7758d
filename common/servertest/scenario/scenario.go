// Package scenario plays scenarios. A [Scenario] shows what clients see of one pitfall. A [Transcript] records
// every step of the clients, and what the server's threads were doing. The scenarios themselves are in package
// pitfalls.
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

// A Scenario describes what the clients do to meet one pitfall, and the assertion that only a server without
// the bug passes.
type Scenario struct {
	ID    string // the name of the folder in testdata/pitfalls
	Stage int    // the stage that the pitfall is about; its test plays the scenario
	Bug   string // what the broken server does wrong, in a line

	// Question asks the reader, before the run, what the broken server will do. Choices are two to four
	// possible answers, and Answer is the index of the right one. Without choices the reader types an
	// answer freely.
	Question string
	Choices  []string
	Answer   int

	Assertion string           // the name of the one assertion that the broken server fails
	Usually   string           // completes "this usually means …" with the likely cause, in a line
	Where     []variants.Place // where the code avoids the bug, the most important place first

	// Stages are the stages in which the scenario makes sense; zero means all. Fails are the stages whose
	// technique has the bug, as stage 1 has head-of-line. In these the assertion must fail.
	Stages stages.Set
	Fails  stages.Set

	Flags []string // the server's flags
	Env   []string // additions to the server's environment
	// Stderr is text that the real server may write to stderr; if it is "", the server must write nothing.
	Stderr string
	// NoServer is set if Run starts the server itself with S.Begin, for instance with a pipe as its stdout.
	NoServer bool
	// Strace names the system calls that S.Calls counts. The server then runs under strace(1). On a
	// machine without strace the scenario is skipped, or fails if CI=true.
	Strace []string
	// Needs says what the machine lacks for the scenario; "" means nothing.
	Needs func() string
	// Network is set if Run enters a network namespace, which an ordinary user may do only in a user
	// namespace.
	Network bool

	Run func(s *S)
}

// In reports whether the scenario makes sense in a stage.
func (sc *Scenario) In(stage int) bool { return sc.Stages == 0 || sc.Stages.Has(stage) }

// FailsIn reports whether the technique of a stage has the bug.
func (sc *Scenario) FailsIn(stage int) bool { return sc.Fails.Has(stage) }

// A Verdict is the result of a run.
type Verdict int

// The verdicts.
const (
	Free      Verdict = iota // the assertion holds: the server does not have the bug
	Caught                   // the named assertion fails: the server has the bug
	Unplayed                 // the run failed in another way, and tells nothing about the bug
	Unskilled                // the machine lacks something that the scenario needs
)

func (v Verdict) String() string {
	return [...]string{"passes", "fails its assertion", "fails otherwise", "skipped"}[v]
}

// A Step is one line of a transcript.
type Step struct {
	Did string // what a client did
	Saw string // what it saw as a result
	Odd bool   // the named assertion failed at this step
	At  time.Time
	// SawAt is when the client saw the result. It is zero if Saw is "".
	SawAt time.Time
	// Threads says what the server's threads were doing, if Assert was called at this step.
	Threads []string
}

// A Transcript is one run of a scenario.
type Transcript struct {
	Scenario Scenario
	Verdict  Verdict
	Reason   string // the reason for the verdict, unless it is Free
	Steps    []Step
	Streams  []Stream // what the clients received, in the order in which they connected
	Threads  []string // what the server's threads were doing at the end
	Stderr   string   // what the server wrote to stderr
	Took     time.Duration
}

// A Stream is what one client received, or the first bytes of it. Dates and other parts that differ in
// every run are masked.
type Stream struct {
	Name  string
	Port  int // the client's own port, 0 if it was refused
	Bytes []byte
	Total int64 // the number of bytes received, which may be more than Bytes holds
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
		limit := prog.Guest.Limit(record.Watchdog)
		watchdog := time.AfterFunc(limit, func() {
			s.Errorf("the scenario takes longer than %v, so its server is killed", limit)
			if s.Server != nil {
				s.Server.Signal(syscall.SIGKILL)
			}
		})
		defer watchdog.Stop()
		sc.Run(s)
	})
	return tr
}

// S plays the clients' part in a run of a scenario, and writes the transcript. A failure that does not come from
// Assert is not a failure of the named assertion.
type S struct {
	record.Recorder
	Server  *process.Server // nil before Begin if the scenario is NoServer
	Program *process.Program
	Root    *docroot.Root
	// Tier, if it is not nil, knows the server's connections to its database, for the transcript.
	Tier interface{ Holds(inode uint32) bool }

	Scenario Scenario
	tr       *Transcript
	peers    []*Peer
	spy      *spy // counts system calls
	odd      bool // the named assertion failed
}

// Begin starts a server, and makes it the scenario's server. The server is killed when the run ends.
func (s *S) Begin(c process.Config) *process.Server {
	if c.Root == "" {
		c.Root = s.Root.Dir
	}
	c.Flags = slices.Concat(s.Scenario.Flags, c.Flags)
	c.Env = slices.Concat(s.Scenario.Env, c.Env)
	if tracer := s.Program.Tracer; s.Scenario.Strace != nil && tracer != nil {
		s.spy = &spy{file: tracer.File}
	} else if s.Scenario.Strace != nil {
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

// Stage returns the stage of the program that is played.
func (s *S) Stage() int { return s.Program.Stage }

// Tolerates reports whether a breach of a claim does not matter, which holds for every claim: the server of a
// Guest fails a scenario only for its bug.
func (s *S) Tolerates(string) bool { return s.Program.Guest != nil }

// patience returns the time-out of a client's operations. It is short in a stage in which the assertion must fail.
func (s *S) patience() time.Duration {
	if s.Scenario.Fails.Has(s.Program.Stage) {
		return time.Second
	}
	return s.Program.Guest.Patience()
}

// Step adds a step to the transcript, and says what a client does.
func (s *S) Step(format string, args ...any) {
	s.tr.Steps = append(s.tr.Steps, Step{Did: fmt.Sprintf(format, args...), At: time.Now()})
}

// Saw adds what the client saw to the last step. The words should be the same in every run: the reader is shown
// the first step at which two transcripts differ. A value that changes from run to run, such as a time or a number
// of calls, belongs here only if the scenario is about that value.
func (s *S) Saw(format string, args ...any) {
	if len(s.tr.Steps) == 0 {
		s.Step("the test begins")
	}
	last := &s.tr.Steps[len(s.tr.Steps)-1]
	if last.Saw != "" {
		last.Saw += "; "
	}
	last.Saw += fmt.Sprintf(format, args...)
	last.SawAt = time.Now()
}

// Assert checks the named assertion. If it does not hold, the server has the bug, and the scenario ends. The
// message says what was seen instead.
func (s *S) Assert(holds bool, format string, args ...any) {
	if n := len(s.tr.Steps); n > 0 {
		s.tr.Steps[n-1].Odd = !holds
		if s.Server != nil { // nil if it has failed to start
			s.settle(holds)
			s.tr.Steps[n-1].Threads = s.threads()
		}
	}
	if !holds {
		s.odd = true
		s.Fatalf(format, args...)
	}
}

// settle gives the server a moment to go to sleep before the threads are recorded. It waits longer after a failed
// assertion, because the reader is shown that record.
func (s *S) settle(holds bool) {
	late := time.Now().Add(map[bool]time.Duration{true: tickTime, false: 5 * tickTime}[holds])
	for s.Server.Awake() && time.Now().Before(late) {
		time.Sleep(tickTime / 10)
	}
}

// Until waits until ok returns true, and returns what ok returned last. Like every wait of a scenario it also
// ends when a Watch finds that waiting is useless.
func (s *S) Until(ok func() bool) bool { return s.UntilAfter(0, ok) }

// UntilAfter is like Until, but does not give up before atLeast has passed. A scenario needs it if the server
// acts only when one of its time-outs ends.
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

// Stalled waits until the server can send no more, because a peer does not read: a thread waits in a send,
// or all threads sleep.
func (s *S) Stalled(p *Peer) {
	s.Until(func() bool { _, waits := s.Server.InCall(sendCalls...); return waits })
}

// sendCalls are the system calls in which a server may wait until a client reads.
var sendCalls = []string{"sendfile", "sendto", "sendmsg", "write", "writev"}

// Interrupt waits until a thread of the server waits in a send, and interrupts the call with a signal that has
// no other effect. It returns false if no thread waits in a send, as in a server with non-blocking sockets.
func (s *S) Interrupt() bool {
	tid := 0
	if !s.Until(func() (waits bool) { tid, waits = s.Server.InCall(sendCalls...); return waits }) {
		return false
	}
	return unix.Tgkill(s.Server.PID(), tid, unix.SIGURG) == nil
}

// finish records the result before the server is killed.
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
