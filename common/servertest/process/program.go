// Package process starts servers and watches them: what they print, what /proc knows of them, and
// how they end. A [Program] is what is started, a [Server] is one process of it, and a [Guest] is the
// patience that a program gets which somebody else wrote.
package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// Patience bounds every wait for something that a working server does at once. It is long
// because the machine may be busy with three other suites under the race detector.
const Patience = 10 * time.Second

// StopPatience is longer than the 5 s that a server may take to stop.
const StopPatience = 12 * time.Second

// A Program is what is measured: something with the command line of docs/spec.md.
type Program struct {
	Path  string   // the executable
	Args  []string // come before the suite's own flags
	Env   []string // added to an environment without USER_NAME, USER_PASS and SECRET
	Stage int      // 1 to 4: which claims it makes
	Guest *Guest   // it is somebody else's; nil for one of the repository's own

	mu     sync.Mutex
	silent bool // prints no start line with a port: ports are chosen for it
}

// Config is how one server is started. The zero value is fine: port 0, and the suite's root.
type Config struct {
	Flags  []string
	Env    []string
	Root   string   // "" leaves -R out
	Dir    string   // the working directory
	Stdout *os.File // instead of Server.Stdout
	Stderr *os.File // instead of Server.Stderr
	Port   int      // 0 lets the server choose
	// Wrap is a command that is put before the program's: a shell that sets a limit.
	Wrap []string
}

// A Server is a running process.
type Server struct {
	Root   string
	Port   int
	Start  string  // its first line on stdout
	Stdout *Output // all of it
	Stderr *Output

	Cmd        *exec.Cmd
	Guest      *Guest
	pid        int           // the server, where cmd is only a wrapper around it; else 0
	exited     chan struct{} // closed when the process has been waited for
	OwnSockets int           // descriptors that are sockets while nobody is connected
}

// startAddress finds an address in a start line.
var startAddress = regexp.MustCompile(`(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]*\]|localhost|\*):(\d+)`)

// Begin starts the server and returns when it accepts connections.
func (p *Program) Begin(c Config) (*Server, error) {
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	if c.Stdout != nil && c.Port == 0 {
		silent = true
	}
	if silent && c.Port == 0 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		c.Port = port
	}
	s, err := p.begin(c)
	chosen := c.Port != 0
	if !chosen && (errors.Is(err, errNoPort) || p.Guest != nil && errors.Is(err, errAtStart)) {
		if c.Port, err = FreePort(); err != nil {
			return nil, err
		}
		if s, err = p.begin(c); err == nil {
			p.mu.Lock()
			p.silent = true
			p.mu.Unlock()
		}
	}
	return s, err
}

var (
	errNoPort  = errors.New("the start line names no port")
	errAtStart = errors.New("it exits at start")
)

func (p *Program) begin(c Config) (*Server, error) {
	args := []string{"-p", strconv.Itoa(c.Port)}
	if c.Root != "" {
		args = append(args, "-R", c.Root)
	}
	cmd := p.command(slices.Concat(args, c.Flags), c)
	s := &Server{
		Root: c.Root, Port: c.Port, Cmd: cmd,
		Stdout: newOutput(), Stderr: newOutput(), exited: make(chan struct{}), Guest: p.Guest,
	}
	cmd.Stdout, cmd.Stderr = s.Guest.tee(s)
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	defer s.Guest.queue()()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // the state says it all
		s.Guest.flush(cmd.Stdout, cmd.Stderr)
		s.Stdout.end()
		s.Stderr.end()
		close(s.exited)
	}()
	s.Guest.announce(s)
	err := s.Guest.started(s)
	if err == nil {
		err = s.await()
	}
	if errors.Is(err, errAtStart) && s.Cmd.ProcessState != nil {
		err = fmt.Errorf("%w: %v", err, s.Cmd.ProcessState)
	}
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("%s: %w%s", strings.Join(cmd.Args, " "), err, Indent(s.Stderr.String()))
	}
	s.locate()
	s.OwnSockets = len(s.Sockets())
	return s, nil
}

// await returns when the server can be connected to. It makes no connection where the start
// line says enough: for an iterative server that would be one client too many.
func (s *Server) await() error {
	if s.Port == 0 {
		if !s.Stdout.Await(2*time.Second, func(out string) bool { return strings.Contains(out, "\n") }) {
			if s.Exited() {
				return errAtStart
			}
			return errNoPort
		}
		s.Start, _, _ = strings.Cut(s.Stdout.String(), "\n")
		m := startAddress.FindStringSubmatch(s.Start)
		if m == nil {
			return errNoPort
		}
		if s.Port, _ = strconv.Atoi(m[1]); s.Port == 0 {
			return errNoPort // it repeats what it was told
		}
	}
	bound := 5 * time.Second
	if s.Guest != nil {
		bound = Patience // an interpreter has much to read first
	}
	if !kernel.Eventually(bound, func() bool { return s.Exited() || kernel.Listening(s.Port) }) {
		return fmt.Errorf("nobody listens on port %d", s.Port)
	}
	if s.Exited() {
		return errAtStart
	}
	s.Stdout.Await(100*time.Millisecond, func(out string) bool { return strings.Contains(out, "\n") })
	s.Start, _, _ = strings.Cut(s.Stdout.String(), "\n")
	return nil
}

func (p *Program) command(args []string, c Config) *exec.Cmd {
	argv := slices.Concat(c.Wrap, []string{p.Path}, p.Args, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "USER_NAME" || name == "USER_PASS" || name == "SECRET"
	})
	cmd.Env = slices.Concat(cmd.Env, p.Env, c.Env)
	// A suite that is killed takes its servers along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Exec runs the program to its end, for command lines that start no server. A program that
// has not ended after some seconds is killed and has the exit status -1.
func (p *Program) Exec(c Config, args ...string) (status int, stdout, stderr string, err error) {
	bound := Patience
	if p.Guest != nil { // which may well start a server instead
		bound = min(3*time.Second, p.Guest.Patience())
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	cmd := p.command(args, c)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	if err := cmd.Start(); err != nil {
		return 0, "", "", err
	}
	stop := context.AfterFunc(ctx, func() { killTree(cmd.Process) })
	defer stop()
	_ = cmd.Wait()
	status = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ctx.Err() == nil {
		status = 128 + int(ws.Signal()) // as a shell says it: a crash is an end
	}
	return status, out.String(), errs.String(), nil
}

// Addr is where IPv4 clients connect to.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Addr6 is where IPv6 clients connect to.
func (s *Server) Addr6() string { return net.JoinHostPort("::1", strconv.Itoa(s.Port)) }

// DialOptions say what is special about a connection.
type DialOptions struct {
	IPv6 bool
	// RecvBuf is SO_RCVBUF, set before the connection is made so that the window is small from
	// the first byte.
	RecvBuf int
}

// Dial makes a connection, without a case around it.
func (s *Server) Dial(o DialOptions) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: Patience}
	if o.RecvBuf > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, o.RecvBuf)
			})
			if err != nil {
				return err
			}
			return failed
		}
	}
	network, addr := "tcp4", s.Addr()
	if o.IPv6 {
		network, addr = "tcp6", s.Addr6()
	}
	conn, err := d.DialContext(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil // Go sets TCP_NODELAY: each Send is on its way at once
}

// PID is the process that serves, also where it was started by a wrapper.
func (s *Server) PID() int {
	if s.pid != 0 {
		return s.pid
	}
	return s.Cmd.Process.Pid
}

// Signal sends the server a signal; one to a process that is gone is none of the caller's business.
func (s *Server) Signal(sig syscall.Signal) {
	if s.pid == 0 {
		_ = s.Cmd.Process.Signal(sig)
	} else if !s.Exited() {
		_ = syscall.Kill(s.pid, sig)
	}
}

// Exited says whether the process is gone.
func (s *Server) Exited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process and says how it went.
func (s *Server) Wait(d time.Duration) (state string, status int, ok bool) {
	d = s.Guest.stopPatience(d)
	select {
	case <-s.exited:
		return s.Cmd.ProcessState.String(), s.Cmd.ProcessState.ExitCode(), true
	case <-time.After(d):
		s.Guest.outstayed(d)
		return fmt.Sprintf("still running after %v", d), -1, false
	}
}

// Kill ends the process, whatever it is doing.
func (s *Server) Kill() {
	if !s.Exited() {
		killTree(s.Cmd.Process)
	}
	<-s.exited
}

// Stop asks the server to stop and tells what was wrong with how it did.
func (s *Server) Stop() error {
	s.Signal(syscall.SIGTERM)
	state, status, ok := s.Wait(StopPatience)
	if !ok {
		s.Kill()
		return fmt.Errorf("SIGTERM does not stop it: %s", state)
	}
	if status != 0 {
		return fmt.Errorf("SIGTERM ends it with %s, want exit status 0%s", state, Indent(s.Stderr.String()))
	}
	return nil
}

// FreePort finds a port that is free. It is none of those that the kernel hands out (32768 and
// up, ip_local_port_range): what was free a moment ago would be another suite's by now.
//
// A port that was given out is not given out again: it may be a while until somebody listens on it.
func FreePort() (int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil { // in both families
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port from 10000 to 32000")
}

var givenPorts sync.Map // of int

// An Output collects what a process writes, and lets others wait for it.
type Output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	news  chan struct{} // closed and replaced at each write
	ended bool
}

func newOutput() *Output { return &Output{news: make(chan struct{})} }

// Write is for the process.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	close(o.news)
	o.news = make(chan struct{})
	return len(p), nil
}

func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.news)
	o.news = make(chan struct{})
}

// String is everything so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Since is everything behind the first n bytes.
func (o *Output) Since(n int) string { return o.String()[n:] }

// Len is how much there is so far.
func (o *Output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Len()
}

// Await waits until ok likes the output.
func (o *Output) Await(d time.Duration, ok func(out string) bool) bool {
	late := time.After(d)
	for {
		o.mu.Lock()
		out, news, ended := o.buf.String(), o.news, o.ended
		o.mu.Unlock()
		if ok(out) {
			return true
		}
		if ended {
			return false
		}
		select {
		case <-news:
		case <-late:
			return false
		}
	}
}

// Indent puts what a process said below a message about it.
func Indent(out string) string {
	out = strings.TrimRight(out, "\n")
	if out == "" {
		return ""
	}
	if len(out) > 2000 {
		out = out[:2000] + "…"
	}
	return "\n\t| " + strings.ReplaceAll(out, "\n", "\n\t| ")
}

// Key names a configuration, so that cases with equal ones can share a process.
func (c Config) Key() string {
	return cmp.Or(strings.Join(slices.Concat(c.Env, c.Flags), " "), "no flags")
}
