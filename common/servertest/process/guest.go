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

// A Guest makes a Program one that the suite knows nothing good of: a server that somebody else
// wrote and that may be half done, crash in every case or never answer. The suite is as strict about
// what such a program sends, but
//
//   - what it writes to stderr is its own affair, as are the words of a wrapper around it;
//   - an answer to /healthz that is not as it should be costs the cases about it, not every case that
//     asks for a sign of life;
//   - a server that a case is done with is ended without a judgement on how it goes, because the stop
//     has its own cases;
//   - patience runs out: see [Guest.Patience];
//   - when the context of RunProgram ends, so do all of its servers, and with them the cases.
//
// The zero value is ready. A Guest belongs to one Program.
type Guest struct {
	// Output, if it is not nil, is given what the program's processes write, a line at a time behind
	// the number of the process.
	Output io.Writer

	mu      sync.Mutex
	writing sync.Mutex    // of Output
	stays   int           // how often a process has not ended in time
	late    int           // how often an answer has not come in time
	lost    int           // cases in a row in which the program did not even start or answer
	given   error         // why nothing more is tried
	end     chan struct{} // closed when given is set
	servers map[*Server]bool
}

const (
	// A good server never lets a case wait in vain, so that these numbers are for the others: after so
	// many waits in vain the suite expects nothing of further ones, but it still asks.
	patientFor, veryPatientFor = 4, 8
	// Impatience is above every time that a server may take in a case: a refused connection ends after 2 s.
	Impatience = 2500 * time.Millisecond
	// Hopeless is after how many cases in a row without a server or an answer the rest is not tried.
	Hopeless = 24
)

// ErrHopeless ends the measuring of a program that does not answer.
var ErrHopeless = fmt.Errorf("%d cases in a row got no server or no answer: the rest was not tried", Hopeless)

// Patience is how long to wait for something that a working server does at once. The methods of a
// nil Guest are those of a program that is none.
func (g *Guest) Patience() time.Duration {
	if g == nil {
		return Patience
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.late >= veryPatientFor*patientFor:
		return Impatience / 2
	case g.late >= patientFor:
		return Impatience
	}
	return Patience
}

// stopPatience is the same for the end of a process. No good server outstays two of these waits.
func (g *Guest) stopPatience(d time.Duration) time.Duration {
	if g == nil {
		return d
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stays >= 2 {
		return min(d, Impatience)
	}
	return d
}

// outstayed takes down that a process has not ended in that time.
func (g *Guest) outstayed(d time.Duration) {
	if g == nil || d < Impatience {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stays++
}

// Waited takes down that an answer has not come in time.
func (g *Guest) Waited() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late++
}

// Judged takes down whether a case was lost, for want of a server or of an answer. When too many in a row
// were it gives up.
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

// GiveUp ends all servers, so that the cases that wait for them end too, and lets no other one start.
func (g *Guest) GiveUp(why error) {
	g.mu.Lock()
	if g.given == nil {
		g.given = why
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

// Ended is closed when nothing more is tried.
func (g *Guest) Ended() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.end == nil {
		g.end = make(chan struct{})
		if g.given != nil {
			close(g.end)
		}
	}
	return g.end
}

// Over says why nothing more is tried, or nil.
func (g *Guest) Over() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.given
}

// started takes a server down that GiveUp must end. It returns an error if that has been called.
func (g *Guest) started(s *Server) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.given != nil {
		return g.given
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

// Watch gives up when ctx ends. The caller must call stop. RunProgram does this by itself.
func (g *Guest) Watch(ctx context.Context) (stop func() bool) {
	if g == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { g.GiveUp(context.Cause(ctx)) })
}

// tee lets Output have a copy of what a process writes.
func (g *Guest) tee(s *Server) (stdout, stderr io.Writer) {
	if g == nil || g.Output == nil {
		return s.Stdout, s.Stderr
	}
	return &liner{g: g, s: s, to: s.Stdout}, &liner{g: g, s: s, to: s.Stderr}
}

// flush is for when the process is gone: its last words may lack a line end.
func (g *Guest) flush(tees ...io.Writer) {
	for _, w := range tees {
		if l, ok := w.(*liner); ok && len(l.rest) > 0 {
			_, _ = l.Write([]byte("\n"))
		}
	}
}

// startSeats is how many guests start at once. The start of an interpreter keeps a CPU busy: more at
// once would only make each look as if it did not start.
var startSeats = make(chan struct{}, runtime.NumCPU())

// queue waits for a turn to start.
func (g *Guest) queue() (done func()) {
	if g == nil {
		return func() {}
	}
	startSeats <- struct{}{}
	return func() { <-startSeats }
}

// announce heads the output of a process.
func (g *Guest) announce(s *Server) {
	if g == nil || g.Output == nil {
		return
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	_, _ = fmt.Fprintf(g.Output, "[%d] started: %s\n", s.Cmd.Process.Pid, strings.Join(s.Cmd.Args, " "))
}

// A liner passes on what a process writes, and copies it line by line, so that the lines of several
// processes do not run into each other.
type liner struct {
	g    *Guest
	s    *Server
	to   io.Writer
	rest []byte // a line that has not ended
}

func (l *liner) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end > 0 {
		l.g.writing.Lock()
		defer l.g.writing.Unlock()
	}
	for line := range bytes.Lines(l.rest[:end]) {
		// A full disk under Output is not the program's fault.
		_, _ = fmt.Fprintf(l.g.Output, "[%d] %s", l.s.Cmd.Process.Pid, line)
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return l.to.Write(p)
}

// Dismiss ends a server that is not judged by how it ends: SIGTERM lets it write what it has
// buffered, and then there is no more to wait for.
func (s *Server) Dismiss() {
	s.Signal(syscall.SIGTERM)
	if _, _, ok := s.Wait(time.Second); !ok {
		s.Kill()
	}
}

// Crashed says how a server ended by itself, or "". A shell in front of it tells of a signal by
// an exit status.
func (s *Server) Crashed() string {
	if !s.Exited() {
		return ""
	}
	ws, ok := s.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	if sig := ws.Signal(); ok && (sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGKILL) {
		return "" // that was the suite
	}
	how := s.Cmd.ProcessState.String()
	if ok && ws.Exited() && ws.ExitStatus() > 128 && ws.ExitStatus() < 160 {
		sig := syscall.Signal(ws.ExitStatus() - 128)
		how += fmt.Sprintf(" (as a shell says that signal %d, %v, ended its command)", int(sig), sig)
	}
	return how + Indent(tail(s.Stderr.String(), 12))
}

// tail is the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{"…"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
