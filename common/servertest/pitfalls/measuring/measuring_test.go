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

// serve accepts connections. It calls before for each line that it receives, then sends a line back. The tests need
// no HTTP.
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

// TestClosedLoop makes the server wait before it answers request 50, until 100 later requests are due.
func TestClosedLoop(t *testing.T) {
	const n, stall, missed = 300, 50, 100
	const gap = 2 * time.Millisecond // between the times at which two requests are due
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
				due = time.Now() // a closed loop measures from when it sends the request
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
		t.Logf("open loop, %t: %d of %d requests took more than %v", open, slow, n, limit)
		// On a busy machine a few more requests of the closed loop may be slow, but not because of this server.
		if !open && slow > 5 {
			t.Errorf("a closed loop reports %d slow requests, want about 1", slow)
		}
		if open && slow < missed/3 {
			t.Errorf("an open loop reports %d slow requests, want about half of the %d that were due meanwhile", slow, missed)
		}
	}
}

const serverEnv = "MEASURING_SERVER"

// TestMain runs the test binary as a server if serverEnv is set. In a process of its own, the server has its own CPU
// time.
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

// ticks returns the CPU time that a process has used, in hundredths of a second.
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

// TestSameCore loads the same server with a thrifty and a wasteful generator. The wasteful one gets fewer responses
// per second, as if the server were slow. Only the CPU time of both processes shows which of them is slow.
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
				sha256.Sum256(work) // as if it checked each response
			}
		}
		server, me = ticks(t, cmd.Process.Pid)-server, ticks(t, os.Getpid())-me
		share[wasteful] = float64(me) / float64(max(1, me+server))
		t.Logf("wasteful, %t: %d requests; the generator used %d ticks, the server %d: %.0f %%", wasteful, n, me, server, 100*share[wasteful])
	}
	if share[true] < 0.65 || share[true] < share[false] {
		t.Errorf("the wasteful generator used %.2f of the CPU time, the thrifty one %.2f; want 0.65 or more, and more than the thrifty one",
			share[true], share[false])
	}
}
