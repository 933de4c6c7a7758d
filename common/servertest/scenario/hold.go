package scenario

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// UnderShell is the process.Config.Wrap of a server whose threads S.Hold stops. It starts the server from a
// shell: if the server were a child of the test, os/exec would take a traced thread's stop for the server's end.
var UnderShell = []string{"sh", "-c", `"$@"; exit $?`, "sh"}

// Hold stops the event loop's thread that serves a peer when it is about to call epoll_wait(2), and lets the
// other threads run. All that happens until release is called is then reported in one batch. See ptrace(2).
func (s *S) Hold(p *Peer) (release func()) {
	thread := 0
	if !s.Until(func() bool { thread = s.loopOf(p); return thread != 0 }) {
		s.Fatalf("no thread waits in epoll_wait(2) for %s", p.Name)
	}
	if tracer := s.Program.Tracer; tracer != nil {
		release, err := tracer.Hold(s.Server.PID(), thread)
		if err != nil {
			s.Fatalf("cannot hold the thread that serves %s: %v", p.Name, err)
		}
		s.OnEnd(release)
		return release
	}
	stopped, done := make(chan error), make(chan struct{})
	go func() {
		// Only the thread that seized another one may trace it. UnlockOSThread keeps this thread alive
		// afterwards: the end of a thread kills the servers that it has started (Pdeathsig).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.PtraceSeize(thread); err != nil {
			stopped <- os.NewSyscallError("ptrace PTRACE_SEIZE", err)
			return
		}
		stopped <- stopBeforeWait(thread)
		<-done
		_ = unix.PtraceDetach(thread)
	}()
	release = sync.OnceFunc(func() { close(done) })
	s.OnEnd(release)
	if err := <-stopped; err != nil {
		s.Fatalf("cannot hold the thread that serves %s: %v", p.Name, err)
	}
	return release
}

// stopBeforeWait lets a traced thread run until it is about to call epoll_wait(2) to wait.
func stopBeforeWait(thread int) error {
	if err := unix.PtraceInterrupt(thread); err != nil {
		return os.NewSyscallError("ptrace PTRACE_INTERRUPT", err)
	}
	if _, err := awaitStop(thread); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(thread, unix.PTRACE_O_TRACESYSGOOD); err != nil {
		return os.NewSyscallError("ptrace PTRACE_SETOPTIONS", err)
	}
	signal := unix.Signal(0)
	for range 1000 {
		if err := unix.PtraceSyscall(thread, int(signal)); err != nil {
			return os.NewSyscallError("ptrace PTRACE_SYSCALL", err)
		}
		status, err := awaitStop(thread)
		if err != nil {
			return err
		}
		switch signal = status.StopSignal(); signal {
		case unix.SIGTRAP | 0x80: // PTRACE_O_TRACESYSGOOD
			if beginsWait(thread) {
				return nil
			}
			signal = 0
		case unix.SIGTRAP:
			signal = 0
		} // any other signal is passed on to the server
	}
	return errors.New("after 1,000 stops it has not called epoll_wait(2)")
}

// awaitStop waits until a traced thread has stopped.
func awaitStop(thread int) (status unix.WaitStatus, err error) {
	if !kernel.Eventually(process.Patience, func() bool {
		var tid int
		tid, err = unix.Wait4(thread, &status, unix.WALL|unix.WNOHANG, nil)
		return tid != 0 && err != unix.EINTR
	}) {
		err = errors.New("it does not stop")
	}
	if err == nil && !status.Stopped() {
		err = errors.New("it has ended")
	}
	return status, err
}

// beginsWait reports whether a thread has stopped at the entry of an epoll_wait(2) whose time-out is not 0. It uses
// PTRACE_GET_SYSCALL_INFO, which has the same form on all architectures.
func beginsWait(thread int) bool {
	const (
		getSyscallInfo = 0x420e
		entry          = 1
		timeout        = 3 // the index of epoll_wait's argument
	)
	var info struct {
		op     uint8
		_      [3]uint8
		arch   uint32
		ip, sp uint64
		nr     uint64
		args   [6]uint64
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return errno == 0 && info.op == entry && kernel.SystemCalls[int64(info.nr)] == "epoll_wait" && info.args[timeout] != 0
}

// NeedsHold says why S.Hold cannot work on this machine, or "".
func NeedsHold() string {
	child := exec.Command("sh", "-c", "read line")
	in, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		return err.Error()
	}
	defer func() { _ = in.Close(); _ = child.Wait() }()
	seized := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // keeps the thread alive, as in Hold
		err := unix.PtraceSeize(child.Process.Pid)
		if err == nil {
			_ = unix.PtraceInterrupt(child.Process.Pid) // only a stopped thread can be detached
			_, _ = awaitStop(child.Process.Pid)
			err = unix.PtraceDetach(child.Process.Pid)
		}
		seized <- err
	}()
	if err := <-seized; err != nil {
		return "needs ptrace(2): it is not allowed here: " + err.Error()
	}
	return ""
}

// loopOf returns the thread that sleeps in epoll_wait(2) on a set with the peer's connection, or 0.
func (s *S) loopOf(p *Peer) int {
	for _, task := range s.Server.Tasks() {
		if name, args := s.Server.Call(task); name != "epoll_wait" || !s.Server.Asleep(task) || !slices.Contains(s.watched(int32(args[0])), "client "+p.Name) {
			continue
		}
		tid, _ := strconv.Atoi(task)
		return tid
	}
	return 0
}
