// Package process starts servers and watches them: their output, their state in /proc and their end. A
// [Program] is the executable with its arguments, a [Server] is a process of it, and a [Guest] marks a program
// that somebody else wrote.
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
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// Patience bounds every wait for something that a working server does at once. It is long because three
// other suites may run at the same time, under the race detector.
const Patience = 10 * time.Second

// StopPatience is longer than the 5 s that a server may take to stop.
const StopPatience = 12 * time.Second

// A Program is a server to be tested. It has the command line of docs/spec.md.
type Program struct {
	Path  string   // the executable
	Args  []string // arguments before the suite's own flags
	Env   []string // added to the environment, from which USER_NAME, USER_PASS and SECRET are removed
	Stage int      // the stage whose claims the program makes, 1 to 4
	Guest *Guest   // not nil if somebody else wrote the program
	// Tracer is not nil if Path is strace(1), which runs the server and writes all its system calls into a file.
	Tracer *Tracer
	Seed   uint64 // of the names, sizes and splits that cases choose at random; 0 is another seed in each run

	mu     sync.Mutex
	silent bool // the start line names no port, so Begin chooses one
}

// A Tracer is a strace(1) that the caller runs the server under. A thread cannot have two tracers, so a scenario that
// traces the server itself uses this one instead.
type Tracer struct {
	File string // one line for each call: the thread, the time, the call
	// Hold stops a thread before its next call of epoll_wait(2) that returns events, until release is called.
	Hold func(pid, thread int) (release func(), err error)
}

// Executable returns the absolute path of a server's executable, for [Program.Path].
func Executable(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("--exec: %w (`make build` puts the servers into bin/)", err)
	}
	return path, nil
}

// Config says how to start a server. The zero value starts it on port 0, without -R.
type Config struct {
	Flags  []string
	Env    []string
	Root   string   // the folder to serve; "" omits -R
	Dir    string   // the working directory
	Stdout *os.File // instead of Server.Stdout
	Stderr *os.File // instead of Server.Stderr
	Port   int      // 0 lets the server choose
	// Wrap is a command that starts the program, such as a shell that sets a limit.
	Wrap []string
}

// A Server is a running process.
type Server struct {
	Root   string
	Port   int
	Start  string  // the first line on stdout
	Stdout *Output // everything on stdout so far
	Stderr *Output // everything on stderr so far

	Cmd        *exec.Cmd
	Guest      *Guest
	pid        int           // the server if Cmd is a wrapper around it, otherwise 0
	exited     chan struct{} // closed when wait(2) has returned for Cmd
	OwnSockets int           // the number of sockets before the first client connects

	over atomic.Pointer[string] // see Over
}

// startAddress matches an address with a port in a start line.
var startAddress = regexp.MustCompile(`(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]*\]|localhost|\*):(\d+)`)

// Begin starts the server and returns when it accepts connections.
func (p *Program) Begin(c Config) (*Server, error) {
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	if c.Stdout != nil && c.Port == 0 {
		silent = true
	}
	ours := silent && c.Port == 0
	if ours {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		c.Port = port
	}
	s, err := p.begin(c, silent)
	chosen := c.Port != 0
	if !chosen && (errors.Is(err, errNoPort) || p.Guest != nil && errors.Is(err, errAtStart)) {
		if c.Port, err = FreePort(); err != nil {
			return nil, err
		}
		if s, err = p.begin(c, true); err == nil {
			p.mu.Lock()
			p.silent = true
			p.mu.Unlock()
		}
	}
	if ours && p.Guest != nil && errors.Is(err, errAtStart) { // another process may have taken the port
		if c.Port, err = FreePort(); err != nil {
			return nil, err
		}
		s, err = p.begin(c, true)
	}
	return s, err
}

var (
	errNoPort  = errors.New("the start line names no port")
	errAtStart = errors.New("it exits at start")
)

// strangerTime is how long a program may take to end that finds its port in use.
const strangerTime = 200 * time.Millisecond

func (p *Program) begin(c Config, silent bool) (*Server, error) {
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
	defer s.Guest.acquireStart()()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.Guest.bind(cmd, s.noteOver)
	go func() {
		_ = cmd.Wait() // Cmd.ProcessState says how the process ended
		s.Guest.release(cmd)
		s.Guest.flush(cmd.Stdout, cmd.Stderr)
		s.Stdout.end()
		s.Stderr.end()
		close(s.exited)
	}()
	s.Guest.announce(s)
	err := s.Guest.started(s)
	if err == nil {
		err = s.await(silent)
	}
	// The port may belong to another process, if this one could not have it.
	if found := err == nil && s.locate(); err == nil && !found && p.Guest != nil {
		if _, _, ended := s.Wait(strangerTime); ended {
			err = errAtStart
		}
	}
	if why := s.Over(); err != nil && why != "" {
		err = fmt.Errorf("%w: SIGKILL by the grader: %s", errAtStart, why)
	} else if errors.Is(err, errAtStart) && s.Cmd.ProcessState != nil {
		err = fmt.Errorf("%w: %v", err, s.Cmd.ProcessState)
	}
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("%s: %w%s", strings.Join(cmd.Args, " "), err, Indent(s.Stderr.String()))
	}
	s.OwnSockets = len(s.Sockets())
	return s, nil
}

// await waits until the server listens. It makes no connection to find out: an iterative server
// could serve no other client meanwhile. silent says that the start line is not expected to name the port.
func (s *Server) await(silent bool) error {
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
			return errNoPort // the start line repeats the argument of -p
		}
	}
	bound := 5 * time.Second
	if s.Guest != nil {
		bound = Patience // an interpreter takes longer to start
	}
	if !kernel.Eventually(bound, func() bool { return s.Exited() || kernel.Listening(s.Port) }) {
		return fmt.Errorf("nobody listens on port %d", s.Port)
	}
	if s.Exited() {
		return errAtStart
	}
	// The start line goes through a queue, so it may come after the socket listens. A guest need
	// not print one, and neither does a server whose stdout is somewhere else.
	bound = Patience
	switch {
	case s.Guest == nil && s.Cmd.Stdout == s.Stdout:
	case s.Guest != nil && !silent:
		bound = 2 * time.Second // as above, where the line must name the port
	default:
		bound = 100 * time.Millisecond
	}
	s.Stdout.Await(bound, func(out string) bool { return strings.Contains(out, "\n") })
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
	// When the suite is killed, its servers must end too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.Guest.bounded(cmd)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Exec runs the program to its end, with a command line that starts no server. If the program has not ended
// after some seconds, Exec kills it and returns the status -1.
func (p *Program) Exec(c Config, args ...string) (status int, stdout, stderr string, err error) {
	bound := Patience
	if p.Guest != nil { // a wrong program often starts a server instead
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
	p.Guest.bind(cmd, func(string) {})
	_ = cmd.Wait()
	p.Guest.release(cmd)
	status = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ctx.Err() == nil {
		status = 128 + int(ws.Signal()) // as in a shell; the -1 of os/exec would look like a time-out
	}
	return status, out.String(), errs.String(), nil
}

// Addr returns the address for IPv4 clients.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Addr6 returns the address for IPv6 clients.
func (s *Server) Addr6() string { return net.JoinHostPort("::1", strconv.Itoa(s.Port)) }

// DialOptions are the options of a connection. The zero value is an IPv4 connection.
type DialOptions struct {
	IPv6 bool
	// RecvBuf, if it is not 0, is the value of SO_RCVBUF in bytes. It is set before the connection is made,
	// so that the window is small from the first byte.
	RecvBuf int
	// From, if it is not nil, is the client's IPv4 address. One address has ports for only some thousands of
	// connections.
	From net.IP
}

// Dial connects to the server.
func (s *Server) Dial(o DialOptions) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: Patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = o.set(int(fd)) })
		return cmp.Or(err, failed)
	}}
	if o.From != nil {
		d.LocalAddr = &net.TCPAddr{IP: o.From}
	}
	network, addr := "tcp4", s.Addr()
	if o.IPv6 {
		network, addr = "tcp6", s.Addr6()
	}
	conn, err := d.DialContext(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil // Go sets TCP_NODELAY, so each write is sent at once
}

// set sets the options of a socket that is not connected yet.
func (o DialOptions) set(fd int) error {
	if o.RecvBuf > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.RecvBuf); err != nil {
			return err
		}
	}
	if o.From != nil {
		// With this option connect(2) chooses the port instead of bind(2). It may choose a port that is in use for a
		// connection to another server.
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	return nil
}

// PID returns the process ID of the server, even if a wrapper has started it.
func (s *Server) PID() int {
	if s.pid != 0 {
		return s.pid
	}
	return s.Cmd.Process.Pid
}

// Signal sends the server a signal. It does nothing if the server has ended.
func (s *Server) Signal(sig syscall.Signal) {
	if s.pid == 0 {
		_ = s.Cmd.Process.Signal(sig)
	} else if !s.Exited() {
		_ = syscall.Kill(s.pid, sig)
	}
}

// Exited reports whether the process has ended.
func (s *Server) Exited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Wait waits up to d for the end of the process and returns how it ended. ok is false if it still runs.
func (s *Server) Wait(d time.Duration) (state string, status int, ok bool) {
	d = s.Guest.stopPatience(d)
	select {
	case <-s.exited:
		return s.Cmd.ProcessState.String(), s.Cmd.ProcessState.ExitCode(), true
	case <-time.After(d):
		s.Guest.noteOverdue(d)
		return fmt.Sprintf("still running after %v", d), -1, false
	}
}

// Kill kills the process and its descendants, and waits for the end.
func (s *Server) Kill() {
	if !s.Exited() {
		killTree(s.Cmd.Process)
	}
	<-s.exited
}

// Stop sends SIGTERM to the server. It returns an error unless the server ends in time with status 0.
func (s *Server) Stop() error {
	s.Signal(syscall.SIGTERM)
	state, status, ok := s.Wait(StopPatience)
	if !ok {
		s.Kill()
		return fmt.Errorf("the server does not stop after SIGTERM: %s", state)
	}
	if status != 0 {
		return fmt.Errorf("after SIGTERM the server ends with %s, want exit status 0%s", state, Indent(s.Stderr.String()))
	}
	return nil
}

// FreePort returns a free port below 32768. The kernel gives the ports from there on to clients and to servers
// with port 0 (ip_local_port_range), so such a port could be taken before the caller uses it.
//
// FreePort never returns the same port twice, because the first caller may not listen on it yet.
func FreePort() (int, error) {
	l, port, err := listenFree("tcp", "") // IPv4 and IPv6
	if err != nil {
		return 0, err
	}
	return port, l.Close()
}

// ListenFree listens on a port of 127.0.0.1 as FreePort finds one. No other process can take the port meanwhile.
func ListenFree() (l net.Listener, port int, err error) { return listenFree("tcp4", "127.0.0.1") }

func listenFree(network, host string) (net.Listener, int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		if _, used := usedPorts.LoadOrStore(port, true); used {
			continue
		}
		if l, err := net.Listen(network, net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return l, port, nil
		}
	}
	return nil, 0, errors.New("no free port from 10000 to 32000")
}

var usedPorts sync.Map // the ports that FreePort has tried

// An Output collects what a process writes. A caller can wait for output.
type Output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	news  chan struct{} // closed and replaced by each write and by end
	ended bool          // the process writes nothing more
}

func newOutput() *Output { return &Output{news: make(chan struct{})} }

// Write appends output of the process.
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

// String returns all output so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Since returns the output after the first n bytes.
func (o *Output) Since(n int) string { return o.String()[n:] }

// Len returns the number of bytes so far.
func (o *Output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Len()
}

// Await waits up to d until ok returns true for all output so far. It returns false earlier if the process ends.
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

// Indent formats the output of a process so that it can follow a message about the process.
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

// Key returns the same string for configurations with equal Env and Flags. Cases with equal keys can share
// a server.
func (c Config) Key() string {
	return cmp.Or(strings.Join(slices.Concat(c.Env, c.Flags), " "), "no flags")
}
