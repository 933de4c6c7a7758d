package servers

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
)

// Pids returns the processes of the server: nginx has workers.
func (r *Running) Pids() []int {
	return append([]int{r.PID()}, kernel.Descendants(r.PID())...)
}

// CPU returns the CPU time that processes have used, in nanoseconds as the scheduler counts them. The clock ticks in
// /proc/PID/stat are too coarse for runs of one second.
func CPU(pids []int) time.Duration {
	var sum int64
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has ended
			}
			ns, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseInt(ns, 10, 64)
			sum += n
		}
	}
	return time.Duration(sum)
}

// RSS returns the resident memory of processes in bytes. Memory that processes share counts for each of them.
func RSS(pids []int) int64 { return sum(pids, "VmRSS") << 10 }

// Threads returns the number of threads of processes.
func Threads(pids []int) int { return int(sum(pids, "Threads")) }

// sum adds up a line of /proc/PID/status.
func sum(pids []int, line string) (total int64) {
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for l := range strings.Lines(string(b)) {
			if f := strings.Fields(l); len(f) > 1 && f[0] == line+":" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				total += n
			}
		}
	}
	return total
}

// AddrPort returns the address for IPv4 clients.
func (r *Running) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(r.Port))
}

// AddrPort6 returns the address for IPv6 clients.
func (r *Running) AddrPort6() netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv6Loopback(), uint16(r.Port))
}

// URL returns the URL of a path.
func (r *Running) URL(path string) string { return "http://" + r.AddrPort().String() + path }

// Stall stops the server for d, as a page that must come from a slow disk or a pause of a virtual machine would do.
func (r *Running) Stall(ctx context.Context, d time.Duration) error {
	pids := r.Pids()
	each := func(sig syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, sig)
		}
	}
	each(syscall.SIGSTOP)
	defer each(syscall.SIGCONT)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Settle waits until the server has nothing left to do from the previous run, such as closing thousands of
// connections. It waits at most for max.
func (r *Running) Settle(ctx context.Context, max time.Duration) {
	const look = 20 * time.Millisecond
	pids := r.Pids()
	before := CPU(pids)
	for end := time.Now().Add(max); time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(look)
		now := CPU(pids)
		if now-before < look/50 {
			return
		}
		before = now
	}
}
