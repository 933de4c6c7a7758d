package netns

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/record"
)

// TestLeaveNetwork checks that the thread of a goroutine that was in another network serves other
// goroutines afterwards, in the old network. If the thread ended, the kernel would kill the processes that
// were started from it.
func TestLeaveNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: an ordinary user cannot return to the network of the machine")
	}
	echo := exec.Command("cat")
	echo.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := echo.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := echo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	var thread int
	var home, after string
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // so that cat and the network belong to the same thread
		defer runtime.UnlockOSThread()
		thread, home = unix.Gettid(), network()
		err := echo.Start()
		if err == nil {
			var leave func()
			if leave, err = EnterNetwork(BothFamilies); err == nil {
				if network() == home {
					t.Error("EnterNetwork stays in the old network")
				}
				leave()
			}
		}
		after = network()
		done <- err
	}()
	err = <-done
	if echo.Process != nil {
		defer func() { _ = in.Close(); _ = echo.Wait() }()
	}
	if err != nil {
		record.Missing(t, "no network namespaces here: %v", err)
	}
	if after != home {
		t.Errorf("leave goes to %s, want %s", after, home)
	}
	if !reused(thread) {
		t.Error("the thread has ended with its goroutine")
	}
	_, _ = io.WriteString(in, "alive\n")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "alive\n" {
		t.Errorf("the process that the thread started answers %q, %v", line, err)
	}
}

// network names the network namespace of the calling thread.
func network() string {
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err.Error()
	}
	return name
}

// reused reports whether a new goroutine runs on the given thread. It keeps up to 100 goroutines on threads of
// their own: the runtime uses the idle threads first.
func reused(thread int) bool {
	release := make(chan struct{})
	defer close(release)
	for range 100 {
		tid := make(chan int)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tid <- unix.Gettid()
			<-release
		}()
		if <-tid == thread {
			return true
		}
	}
	return false
}
