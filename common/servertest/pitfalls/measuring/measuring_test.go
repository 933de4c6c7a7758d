package measuring

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A line is a request, and another line its answer: what is measured here is not HTTP.
func serve(l net.Listener, before func()) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			for r := bufio.NewReader(c); ; {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				before()
				if _, err := io.WriteString(c, "ok\n"); err != nil {
					return
				}
			}
		}()
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestClosedLoop has request 50 stand still until 100 later ones would have been due.
func TestClosedLoop(t *testing.T) {
	const n, stall, missed = 300, 50, 100
	const gap = 2 * time.Millisecond // between two requests that are due
	for _, open := range []bool{false, true} {
		var asked atomic.Int64
		l := listen(t)
		go serve(l, func() {
			if asked.Add(1) == stall {
				time.Sleep(missed * gap)
			}
		})
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(c)
		slow := 0
		const limit = missed * gap / 2
		begin := time.Now()
		for i := range n {
			due := begin.Add(time.Duration(i) * gap)
			if !open {
				due = time.Now() // it is due when there is time for it
			} else {
				time.Sleep(time.Until(due))
			}
			if _, err := io.WriteString(c, "a request\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := answers.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if time.Since(due) > limit {
				slow++
			}
		}
		_ = c.Close()
		t.Logf("open loop, %t: %d of %d requests were late by more than %v", open, slow, n, limit)
		// The closed loop may be late now and then on a busy machine, but not for what the server did.
		if !open && slow > 5 {
			t.Errorf("a closed loop reports %d slow requests, want the one that it waited for", slow)
		}
		if open && slow < missed/3 {
			t.Errorf("an open loop reports %d slow requests of the %d that were due meanwhile", slow, missed)
		}
	}
}

const serverEnv = "MEASURING_SERVER"

// TestMain makes the test binary a server, too: its CPU time is another process's.
func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(l.Addr())
		serve(l, func() {})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ticks is the CPU time that a process has used, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return user + system
}

// TestSameCore has two generators load the same server. A wasteful one gets fewer answers per second, as if the
// server were slow; who used the CPU tells.
func TestSameCore(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", strings.TrimSpace(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answers := bufio.NewReader(c)
	work := make([]byte, 1<<20)
	share := map[bool]float64{}
	for _, wasteful := range []bool{false, true} {
		server, me := ticks(t, cmd.Process.Pid), ticks(t, os.Getpid())
		n := map[bool]int{false: 4000, true: 400}[wasteful]
		for range n {
			if _, err := io.WriteString(c, "a request\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := answers.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if wasteful {
				sha256.Sum256(work) // it checks the answers, say
			}
		}
		server, me = ticks(t, cmd.Process.Pid)-server, ticks(t, os.Getpid())-me
		share[wasteful] = float64(me) / float64(max(1, me+server))
		t.Logf("wasteful, %t: %d requests; the generator used %d ticks, the server %d: %.0f %%", wasteful, n, me, server, 100*share[wasteful])
	}
	if share[true] < 0.65 || share[true] < share[false] {
		t.Errorf("a generator that is the bottleneck is not seen by its share of the CPU: %.2f, a thrifty one's is %.2f", share[true], share[false])
	}
}
