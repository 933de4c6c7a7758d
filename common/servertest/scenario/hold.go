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

// Beneath is what a server is started with whose threads are to be held: the thread that a test
// traces must not be its child, or os/exec takes the stop for the end.
var Beneath = []string{"sh", "-c", `"$@"; exit $?`, "sh"}

// Hold stops the thread that serves a peer by epoll(7) or poll(2), and no other one, at the moment in which it is
// about to wait for events: what happens until release is all in one batch. See ptrace(2).
func (s *S) Hold(p *Peer) (release func()) {
	thread := 0
	if !s.Until(func() bool { thread = s.loopOf(p); return thread != 0 }) {
		s.Fatalf("no thread waits in epoll_wait(2) for what %s sends", p.Name)
	}
	stopped, done := make(chan error), make(chan struct{})
	go func() {
		// It is a thread that traces. It must live on: a server that it has started would be
		// killed with it (Pdeathsig).
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
		s.Fatalf("the thread that serves %s cannot be held: %v", p.Name, err)
	}
	return release
}

// stopBeforeWait has a traced thread go on until it begins a system call that waits for events.
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
		} // else it is the server's own
	}
	return errors.New("it makes system calls, and does not wait for events")
}

// awaitStop waits until a traced thread stands still.
func awaitStop(thread int) (status unix.WaitStatus, err error) {
	if !kernel.Eventually(process.Patience, func() bool {
		var who int
		who, err = unix.Wait4(thread, &status, unix.WALL|unix.WNOHANG, nil)
		return who != 0 && err != unix.EINTR
	}) {
		err = errors.New("it makes no system call")
	}
	if err == nil && !status.Stopped() {
		err = errors.New("it has ended")
	}
	return status, err
}

// beginsWait says whether a thread has stopped at the beginning of epoll_wait(2), and not one that only has a
// look. PTRACE_GET_SYSCALL_INFO is the same on all machines.
func beginsWait(thread int) bool {
	const (
		getSyscallInfo = 0x420e
		entry          = 1
		timeout        = 3 // which argument it is
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
		defer runtime.UnlockOSThread() // and the thread lives on, as in hold
		err := unix.PtraceSeize(child.Process.Pid)
		if err == nil {
			_ = unix.PtraceInterrupt(child.Process.Pid) // only a thread that stands still can be let go
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

// loopOf is the thread that sleeps in epoll_wait(2) with a peer in its set, or 0.
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
