package process

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
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

// boundsTick is how often the memory and the tasks of the servers are measured. A measurement takes milliseconds, because
// it reads all of /proc.
const boundsTick = 100 * time.Millisecond

// bounded prepares a command for the bounds of a guest. The process gets a group of its own and a mark, so that
// all of it can be killed.
func (g *Guest) bounded(cmd *exec.Cmd) {
	if g == nil || g.Bounds == (Bounds{}) {
		return
	}
	cmd.SysProcAttr.Setpgid = true
	mark(cmd)
	_ = adopt() // it fails only on kernels before 3.4
}

// A leash is a process that is measured.
type leash struct {
	cmd  *exec.Cmd
	over func(why string)
}

// bind sets the limits of a started process, and measures it until release is called. If it uses more than it may, over
// is called with the reason, and the process and its group are killed.
func (g *Guest) bind(cmd *exec.Cmd, over func(why string)) {
	if g == nil || g.Bounds == (Bounds{}) {
		return
	}
	pid := cmd.Process.Pid
	lower(pid, unix.RLIMIT_NOFILE, uint64(g.Bounds.Files))
	lower(pid, unix.RLIMIT_FSIZE, uint64(g.Bounds.Size))
	if g.Bounds.Memory == 0 && g.Bounds.Tasks == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bound == nil {
		g.bound = map[int]leash{}
	}
	g.bound[pid] = leash{cmd, over}
	if !g.watching {
		g.watching = true
		go g.watchBounds()
	}
}

// watchBounds measures the bound processes until there are none.
func (g *Guest) watchBounds() {
	for range time.Tick(boundsTick) {
		g.mu.Lock()
		if len(g.bound) == 0 {
			g.watching = false
			g.mu.Unlock()
			return
		}
		bound := maps.Clone(g.bound)
		g.mu.Unlock()
		family := kernel.Children()
		for pid, l := range bound {
			if why := g.Bounds.exceeded(pid, append(family.Of(pid), strays(l.cmd, family)...)); why != "" {
				l.over(why)
				_ = syscall.Kill(-pid, syscall.SIGKILL)
			}
		}
	}
}

// release ends the measurements of a process that has ended, and kills the processes that it has left.
func (g *Guest) release(cmd *exec.Cmd) {
	if g == nil || g.Bounds == (Bounds{}) {
		return
	}
	g.mu.Lock()
	delete(g.bound, cmd.Process.Pid)
	g.mu.Unlock()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	killStrays(cmd)
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
func (b Bounds) exceeded(pid int, descendants []int) string {
	var memory int64
	tasks := 0
	for _, p := range append(descendants, pid) {
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
