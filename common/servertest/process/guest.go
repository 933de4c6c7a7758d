package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Guest marks a Program as a server that somebody else wrote. Such a server may be unfinished, crash in
// every case or never answer. The suite checks its responses as strictly as those of the repository's own
// servers, but with these differences:
//
//   - It may write anything to stderr.
//   - A wrong answer to /healthz fails only the cases about /healthz. The check that a server is alive
//     accepts any answer.
//   - When a case is done with a server, the exit status does not matter. The stop has cases of its own.
//   - After many time-outs the suite waits for a shorter time: see [Guest.Patience].
//   - When the context of RunProgram ends, all servers of the program are killed, so its cases end too.
//
// The zero value is ready to use. A Guest belongs to one Program.
type Guest struct {
	// Output, if it is not nil, receives a copy of all lines that the program's processes write, each
	// after the process ID.
	Output io.Writer
	Bounds Bounds // of each server
	// CaseLimit is how long a case or a scenario may take; 0 is record.Watchdog.
	CaseLimit time.Duration

	outputMu sync.Mutex // for writes to Output

	mu       sync.Mutex       // for the fields below
	overdue  int              // how many times a process has not ended in time
	timeouts int              // how many times an answer has not come in time
	lost     int              // how many of the last cases in a row had no server or no answer
	gaveUp   error            // the argument of the first GiveUp
	end      chan struct{}    // closed by GiveUp; nil until Ended is called
	servers  map[*Server]bool // the processes that run
	bound    map[int]leash    // the processes that are measured
	watching bool             // watchBounds runs
}

const (
	// A correct server never causes a time-out. After impatientAfter of them the suite waits for Impatience,
	// after veryImpatientAfter for half of that, so that a broken server does not take hours to test.
	impatientAfter, veryImpatientAfter = 4, 32
	// Impatience is longer than a correct server takes for anything that a case waits for. The longest is the
	// end of a refused connection, 2 s.
	Impatience = 2500 * time.Millisecond
	// Hopeless is the number of cases in a row without a server or an answer after which the suite gives up.
	Hopeless = 24
)

// ErrHopeless is the reason to give up a program that does not answer.
var ErrHopeless = fmt.Errorf("%d cases in a row got no server or no answer: the rest was not tried", Hopeless)

// Limit returns how long a case may take: the CaseLimit, or usual if there is none.
func (g *Guest) Limit(usual time.Duration) time.Duration {
	if g == nil || g.CaseLimit == 0 {
		return usual
	}
	return g.CaseLimit
}

// Patience returns how long to wait for something that a working server does at once. It is shorter after
// many time-outs. For a nil Guest, the repository's own programs, it is always the constant Patience.
func (g *Guest) Patience() time.Duration {
	if g == nil {
		return Patience
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.timeouts >= veryImpatientAfter:
		return Impatience / 2
	case g.timeouts >= impatientAfter:
		return Impatience
	}
	return Patience
}

// stopPatience returns how long to wait for the end of a process, at most d. It is shorter after two
// time-outs: a correct server causes none.
func (g *Guest) stopPatience(d time.Duration) time.Duration {
	if g == nil {
		return d
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.overdue >= 2 {
		return min(d, Impatience)
	}
	return d
}

// noteOverdue counts a process that has not ended after d. Shorter waits than Impatience do not count.
func (g *Guest) noteOverdue(d time.Duration) {
	if g == nil || d < Impatience {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.overdue++
}

// Waited counts a wait for the server that timed out.
func (g *Guest) Waited() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timeouts++
}

// Judged records the end of a case. A case is lost if there was no server or no answer. After too many
// lost cases in a row Judged gives up.
func (g *Guest) Judged(lost bool) {
	g.mu.Lock()
	g.lost++
	if !lost {
		g.lost = 0
	}
	enough := g.lost >= Hopeless
	g.mu.Unlock()
	if enough {
		g.GiveUp(ErrHopeless)
	}
}

// GiveUp kills all servers and lets no other one start. The cases that wait for these servers end too.
func (g *Guest) GiveUp(why error) {
	g.mu.Lock()
	if g.gaveUp == nil {
		g.gaveUp = why
		if g.end != nil {
			close(g.end)
		}
	}
	var all []*Server
	for s := range g.servers {
		all = append(all, s)
	}
	g.mu.Unlock()
	for _, s := range all {
		s.Kill()
	}
}

// Ended returns a channel that GiveUp closes.
func (g *Guest) Ended() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.end == nil {
		g.end = make(chan struct{})
		if g.gaveUp != nil {
			close(g.end)
		}
	}
	return g.end
}

// Over returns the reason passed to GiveUp, or nil if GiveUp has not been called.
func (g *Guest) Over() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gaveUp
}

// started adds a server to those that GiveUp kills. If GiveUp has been called, it returns the reason.
func (g *Guest) started(s *Server) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gaveUp != nil {
		return g.gaveUp
	}
	if g.servers == nil {
		g.servers = map[*Server]bool{}
	}
	g.servers[s] = true
	go func() {
		<-s.exited
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.servers, s)
	}()
	return nil
}

// Watch makes the Guest give up when ctx ends, until the caller calls stop. RunProgram calls Watch itself.
func (g *Guest) Watch(ctx context.Context) (stop func() bool) {
	if g == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { g.GiveUp(context.Cause(ctx)) })
}

// tee returns the writers for the output of a process, which copy it to Output.
func (g *Guest) tee(s *Server) (stdout, stderr io.Writer) {
	if g == nil || g.Output == nil {
		return s.Stdout, s.Stderr
	}
	return &lineWriter{g: g, s: s, to: s.Stdout}, &lineWriter{g: g, s: s, to: s.Stderr}
}

// flush writes a line end if the last line of a process that has ended has none.
func (g *Guest) flush(tees ...io.Writer) {
	for _, w := range tees {
		if l, ok := w.(*lineWriter); ok && len(l.rest) > 0 {
			_, _ = l.Write([]byte("\n"))
		}
	}
}

// startSlots bounds how many guests start at the same time. The start of an interpreter keeps a CPU busy;
// if more interpreters started at once, each could miss the time-out for a start.
var startSlots = make(chan struct{}, runtime.NumCPU())

// acquireStart waits for a free start slot. The caller must call release.
func (g *Guest) acquireStart() (release func()) {
	if g == nil {
		return func() {}
	}
	startSlots <- struct{}{}
	return func() { <-startSlots }
}

// announce writes the command line of a new process to Output.
func (g *Guest) announce(s *Server) {
	if g == nil || g.Output == nil {
		return
	}
	g.outputMu.Lock()
	defer g.outputMu.Unlock()
	_, _ = fmt.Fprintf(g.Output, "[%d] started: %s\n", s.Cmd.Process.Pid, strings.Join(s.Cmd.Args, " "))
}

// A lineWriter passes on the output of a process and copies it to Output in whole lines, so that the lines of
// several processes do not mix.
type lineWriter struct {
	g    *Guest
	s    *Server
	to   io.Writer
	rest []byte // a line that has not ended
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end > 0 {
		l.g.outputMu.Lock()
		defer l.g.outputMu.Unlock()
	}
	for line := range bytes.Lines(l.rest[:end]) {
		// A write error, such as a full disk, is not the program's fault.
		_, _ = fmt.Fprintf(l.g.Output, "[%d] %s", l.s.Cmd.Process.Pid, line)
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return l.to.Write(p)
}

// Dismiss ends a server whose exit status does not matter. SIGTERM lets the server write what it has
// buffered; one second later Dismiss kills it.
func (s *Server) Dismiss() {
	s.Signal(syscall.SIGTERM)
	if _, _, ok := s.Wait(time.Second); !ok {
		s.Kill()
	}
}

// Crashed describes how a server ended by itself. It returns "" if the server runs, or ended by one of
// the signals that the suite sends. A shell that started the server reports a signal as an exit status over 128.
func (s *Server) Crashed() string {
	if !s.Exited() {
		return ""
	}
	if why := s.Over(); why != "" {
		return "SIGKILL by the grader: " + why + Indent(tail(s.Stderr.String(), 12))
	}
	ws, ok := s.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	if sig := ws.Signal(); ok && (sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGKILL) {
		return ""
	}
	how := s.Cmd.ProcessState.String()
	if ok && ws.Exited() && ws.ExitStatus() > 128 && ws.ExitStatus() < 160 {
		sig := syscall.Signal(ws.ExitStatus() - 128)
		how += fmt.Sprintf(" (a shell reports signal %d, %v, of its command in this way)", int(sig), sig)
	}
	return how + Indent(tail(s.Stderr.String(), 12))
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{"…"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
