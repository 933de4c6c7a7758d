package cases

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

// These cases shut down a listening socket of the server from another process.

const lostListener = `listen on .*: accept4: invalid argument: another program has shut this socket down`

func lostCases() []Case {
	return []Case{
		{Name: "stop-listener-lost", IDs: []string{"stop-listener-lost"}, NoServer: true, Stderr: lostListener, Run: func(t *T) {
			s := t.Begin(Config{Flags: []string{"--idle-timeout", "5m"}})
			loseListener(t, s, fmt.Sprintf(":%d", s.Port), DialOptions{RecvBuf: smallWindow})
		}},
		{
			Name: "stop-listener-lost-of-two", IDs: []string{"stop-listener-lost"}, Stages: stages.In(3, 4), NoServer: true, Stderr: lostListener,
			Run: func(t *T) {
				if !haveIPv6() {
					t.Logf("skipped: this machine has no IPv6")
					return
				}
				for _, lost := range []string{"0.0.0.0", "[::]"} {
					s := t.Begin(Config{Flags: []string{"--idle-timeout", "5m", "--bind", "separate"}})
					// The clients connect by the other listener.
					loseListener(t, s, fmt.Sprintf("%s:%d", lost, s.Port), DialOptions{RecvBuf: smallWindow, IPv6: lost == "0.0.0.0"})
				}
			},
		},
	}
}

// loseListener shuts one listener down while a client reads a response. In stages 2 to 4 a second client
// is idle. The options o say how both connect.
func loseListener(t *T, s *Server, addr string, o DialOptions) {
	t.Helper()
	c := t.DialTo(s, o)
	c.Request("GET", "/big.bin")
	c.AwaitAnswer()
	var idle *Client
	if t.Stage() > 1 {
		idle = t.DialTo(s, o)
		idle.WantKept()
	}
	if err := shutdownListener(s, addr); err != nil {
		t.Logf("skipped: %v", err) // a container may forbid it
		return
	}
	if idle != nil {
		idle.Patience(atOnce).WantEnd()
		t.Eventually("the server no longer listens", func() bool { return !kernel.Listening(s.Port) })
	}
	if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err != nil {
		t.Errorf("reading the response under way: %v", err)
	}
	if t.Stage() == 1 {
		c.Close() // stage 1 notices when it calls accept again
	} else {
		c.WantEnd()
	}
	start := time.Now()
	state, status, ok := s.Wait(process.StopPatience)
	if !ok || status != 1 {
		t.Errorf("%s: %s after %v, want exit status 1", addr, state, time.Since(start).Round(time.Millisecond))
	}
	stderr := s.Stderr.String()
	if strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, addr) || !regexp.MustCompile(`(?i)start`).MatchString(stderr) {
		t.Errorf("want one line on stderr that names %s and what to do, got:%s", addr, process.Indent(stderr))
	}
}

// shutdownListener calls shutdown(2) on a listening socket of the server, as a debugger or ss -K does.
// addr is the end of the socket's address, as the start line writes it.
func shutdownListener(s *Server, addr string) error {
	pidfd, err := unix.PidfdOpen(s.PID(), 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	for _, theirs := range s.FDs() {
		if !strings.HasPrefix(s.What(theirs), "socket:") {
			continue
		}
		fd, err := unix.PidfdGetfd(pidfd, theirs, 0)
		if err != nil {
			return os.NewSyscallError("pidfd_getfd", err)
		}
		err = kernel.ErrNoSocket
		if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens == 1 && strings.HasSuffix(sockName(fd), addr) {
			err = os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RDWR))
		}
		_ = unix.Close(fd)
		if err != kernel.ErrNoSocket {
			return err
		}
	}
	return kernel.ErrNoSocket
}

// sockName returns the address of a socket, as a start line writes it.
func sockName(fd int) string {
	sa, _ := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return fmt.Sprintf("%v:%d", netip.AddrFrom4(sa.Addr), sa.Port)
	case *unix.SockaddrInet6:
		return fmt.Sprintf("[%v]:%d", netip.AddrFrom16(sa.Addr), sa.Port)
	}
	return ""
}
