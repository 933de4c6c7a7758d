package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// Bounds limit what a guest's server may use, with its child processes. A field that is 0 is no limit.
type Bounds struct {
	Memory int64 // resident bytes of all processes. RLIMIT_AS would end Go and Java, which reserve much more.
	Tasks  int   // processes and threads. RLIMIT_NPROC would count all processes of the user, and not root's.
	Files  int   // RLIMIT_NOFILE
	Size   int64 // RLIMIT_FSIZE in bytes
}

// boundsTick is how often the memory and the tasks of a server are measured.
const boundsTick = 50 * time.Millisecond

// bounded prepares a command for the bounds of a guest. The process gets a group of its own, so that
// all of it can be killed at once.
func (g *Guest) bounded(attr *syscall.SysProcAttr) {
	if g != nil && g.Bounds != (Bounds{}) {
		attr.Setpgid = true
	}
}

// bind sets the limits of a started process, and measures it until done is closed. If it uses more than it may, the
// process and its group are killed, and over is called with the reason.
func (g *Guest) bind(pid int, done <-chan struct{}, over func(why string)) {
	if g == nil || g.Bounds == (Bounds{}) {
		return
	}
	lower(pid, unix.RLIMIT_NOFILE, uint64(g.Bounds.Files))
	lower(pid, unix.RLIMIT_FSIZE, uint64(g.Bounds.Size))
	if g.Bounds.Memory == 0 && g.Bounds.Tasks == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(boundsTick)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if why := g.Bounds.exceeded(pid); why != "" {
				over(why)
				_ = syscall.Kill(-pid, syscall.SIGKILL)
				return
			}
		}
	}()
}

// clear kills what a process with bounds has left in its group.
func (g *Guest) clear(pid int) {
	if g != nil && g.Bounds != (Bounds{}) {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// lower sets a resource limit of a process unless the limit is smaller already.
func lower(pid, resource int, to uint64) {
	var now unix.Rlimit
	if to == 0 || unix.Prlimit(pid, resource, nil, &now) != nil {
		return
	}
	_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(now.Cur, to), Max: min(now.Max, to)}, nil)
}

// exceeded returns which bound a process and its descendants exceed, or "".
func (b Bounds) exceeded(pid int) string {
	var memory int64
	tasks := 0
	for _, p := range append([]int{pid}, kernel.Descendants(pid)...) {
		memory += resident(p)
		if threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p)); err == nil {
			tasks += len(threads)
		}
	}
	switch {
	case b.Memory > 0 && memory > b.Memory:
		return fmt.Sprintf("it used %d MB of memory, and may use %d", memory>>20, b.Memory>>20)
	case b.Tasks > 0 && tasks > b.Tasks:
		return fmt.Sprintf("it had %d processes and threads, and may have %d", tasks, b.Tasks)
	}
	return ""
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// noteOver records why the server was killed.
func (s *Server) noteOver(why string) { s.over.Store(&why) }

// Over returns which bound of its guest the server has exceeded, or "".
func (s *Server) Over() string {
	if why := s.over.Load(); why != nil {
		return *why
	}
	return ""
}
