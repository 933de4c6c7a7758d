package process

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// The process that is started need not be the server: it may be a shell script, a debugger or
// strace. The server is then the process beneath it that holds the listening socket.

// locate finds the server behind a wrapper. Where nothing better is found it is the process that
// was started.
func (s *Server) locate() {
	l, ok := kernel.Listener(s.Port)
	if !ok {
		return
	}
	inode := fmt.Sprintf("socket:[%d]", l.Inode)
	for _, pid := range append([]int{s.Cmd.Process.Pid}, kernel.Offspring(s.Cmd.Process.Pid)...) {
		if !slices.Contains(kernel.SocketsOf(pid), inode) {
			continue
		}
		if pid != s.Cmd.Process.Pid {
			s.follow(pid)
		}
		return
	}
}

// follow makes another process than the one that was started the server. A wrapper
// that outlives it has lost its purpose: it is ended too, so that the end of the server is seen.
func (s *Server) follow(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	s.pid = pid
	go func() {
		defer func() { _ = unix.Close(fd) }()
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				break
			}
		}
		select {
		case <-s.exited: // with the server's exit status, if it is a good wrapper
		case <-time.After(time.Second):
			_ = s.Cmd.Process.Kill()
		}
	}()
}

// killTree ends a process and everything that it has started in turn: a shell that is killed leaves
// its children behind. The caller knows that the process has not been waited for.
func killTree(p *os.Process) {
	beneath := kernel.Offspring(p.Pid)
	_ = p.Kill()
	for _, pid := range beneath {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
