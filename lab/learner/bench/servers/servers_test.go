package servers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/kernel"
)

// TestConfig checks what the configurations of nginx and h2o say.
func TestConfig(t *testing.T) {
	s := settings{Sendfile: true, Dir: "/d", Root: "/d/root", Port: 8081, Workers: 3, Conns: 9000, Files: 10000}
	for _, tt := range []struct {
		name         string
		template     func(settings) ([]byte, error)
		wants, never []string
	}{
		{
			"nginx", func(s settings) ([]byte, error) { return render(nginxConf, s) },
			[]string{
				"daemon off;", "worker_processes 3;", "worker_connections 9000;", "worker_rlimit_nofile 10000;", "access_log off;",
				"listen 127.0.0.1:8081 ", "root /d/root;", "return 200 '{}';", "sendfile on;", "tcp_nopush on;", "keepalive_requests 1000000000;",
			},
			[]string{"user "},
		},
		{
			"h2o", func(s settings) ([]byte, error) { return render(h2oConf, s) },
			[]string{"num-threads: 3\n", "max-connections: 9000\n", "host: 127.0.0.1\n", "port: 8081\n", "file.dir: /d/root\n", "file.file: /d/root/login.json\n"},
			[]string{"user:", "access-log"},
		},
	} {
		got, err := tt.template(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.wants {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: the configuration does not contain %q:\n%s", tt.name, want, got)
			}
		}
		for _, never := range tt.never {
			if strings.Contains(string(got), never) {
				t.Errorf("%s: without a user the configuration contains %q", tt.name, never)
			}
		}
		s := s
		s.User = "root"
		if got, err = tt.template(s); err != nil || !strings.Contains(string(got), "user") {
			t.Errorf("%s: the configuration names no user: %v\n%s", tt.name, err, got)
		}
	}
}

// TestMissing checks that a peer that is not installed is missing, with the way to get it, and no error.
func TestMissing(t *testing.T) {
	w, err := NewWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Setenv("PATH", "")
	for name, help := range map[string]string{"floor": "apt-get install gcc", "nginx": "nginx", "h2o": "h2o"} {
		if _, err := find(name, "/usr/sbin/"+name); err == nil {
			continue // it is installed in a folder that is searched without $PATH
		}
		_, err := w.Start(t.Context(), name)
		if missing, ok := errors.AsType[*ErrMissing](err); !ok || !strings.Contains(missing.Error(), help) {
			t.Errorf("%s without $PATH: %v, want that it is missing", name, err)
		}
	}
	if _, err := w.Start(t.Context(), "apache"); err == nil || !strings.Contains(err.Error(), "-l lists them") {
		t.Errorf("a server that does not exist: %v", err)
	}
}

// TestRoot checks the files that all servers serve.
func TestRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	if err := makeRoot(dir); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"1k.txt": 1024, "66k.csvt": 67_584, "2250k.wad": 2_304_000, "login.json": 2} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() != size || info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s: %v, %v, want %d bytes that everybody may read", name, info, err, size)
		}
	}
}

// TestCost reads CPU time, memory and threads of a process that works, and of one that does not exist.
func TestCost(t *testing.T) {
	self := []int{os.Getpid()}
	before := CPU(self)
	for x := 0; CPU(self)-before < time.Millisecond; x++ {
		if x > 1_000_000 {
			t.Fatal("the CPU time of a busy process does not grow")
		}
	}
	if RSS(self) < 1<<20 || Threads(self) < 1 {
		t.Errorf("%d bytes, %d threads", RSS(self), Threads(self))
	}
	cmd := exec.Command("/bin/sh", "-c", "exit")
	if err := cmd.Run(); err != nil {
		t.Skipf("needs a shell: %v", err)
	}
	if gone := []int{cmd.Process.Pid}; CPU(gone) != 0 || RSS(gone) != 0 {
		t.Error("a process that has ended uses CPU time or memory")
	}
}

// TestNginxCopy checks that the second nginx differs from the first one in sendfile alone.
func TestNginxCopy(t *testing.T) {
	with, err := render(nginxConf, settings{Sendfile: true, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	without, err := render(nginxConf, settings{Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Replace(string(with), "\n  sendfile on;\n  tcp_nopush on;", "", 1); got != string(without) || got == string(with) {
		t.Errorf("with sendfile:\n%s\nwithout:\n%s", with, without)
	}
}

// echoing starts a shell that answers each line with a line.
func echoing(t *testing.T) (pid int, exchange func() error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "while read line; do echo; done")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs a shell: %v", err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	return cmd.Process.Pid, func() error {
		if _, err := in.Write([]byte("\n")); err != nil {
			return err
		}
		_, err := out.Read(make([]byte, 1))
		return err
	}
}

// TestSleeps counts the sleeps of a shell that waits for each line.
func TestSleeps(t *testing.T) {
	pid, exchange := echoing(t)
	const n = 20
	before := Sleeps([]int{pid})
	for range n {
		kernel.Eventually(10*time.Second, func() bool { // the shell waits for the line
			return kernel.Stat(fmt.Sprintf("/proc/%d/stat", pid))[0] == "S"
		})
		if err := exchange(); err != nil {
			t.Fatal(err)
		}
	}
	if got := Sleeps([]int{pid}) - before; got < n-1 || got > 10*n {
		t.Errorf("%d sleeps for %d lines", got, n)
	}
}

// probes are arguments with which perf and strace succeed if they may trace.
var probes = map[string][]string{
	"perf":   {"stat", "-o", "/dev/null", "-e", "raw_syscalls:sys_enter", "true"},
	"strace": {"-o", "/dev/null", "true"},
}

// TestTracers counts the system calls of a shell with perf and with strace, where they can be used.
func TestTracers(t *testing.T) {
	pid, exchange := echoing(t)
	if err := exchange(); err != nil { // it has read its first line, so nothing of its start is counted
		t.Fatal(err)
	}
	const n = 20
	for _, name := range []string{"perf", "strace"} {
		tracer := newTracer(name)
		if tracer == nil || exec.Command(tracer.path, probes[name]...).Run() != nil {
			t.Logf("%s cannot be used here", name)
			continue
		}
		if err := tracer.try(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		counted, err := tracer.Count(t.Context(), []int{pid}, func() error {
			for range n {
				if err := exchange(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// A shell reads byte by byte. Writes that are being made when the counting ends are not in the table of strace.
		if counted["write"] < n-1 || counted["write"] > n+1 || counted["read"] < n-1 || counted[""] < counted["read"]+counted["write"] {
			t.Errorf("%s: %v, want %d writes", name, counted, n)
		}
	}
}

// TestParseCalls reads what perf and strace print.
func TestParseCalls(t *testing.T) {
	got, err := parsePerf("547,,raw_syscalls:sys_enter,5474383,100.00,,\n40,,syscalls:sys_enter_read,5474383,100.00,,\n0,,syscalls:sys_enter_futex,1,100.00,,\n<not counted>,,syscalls:sys_enter_poll,0,100.00,,\n")
	if want := map[string]int64{"": 547, "read": 40}; err != nil || !maps.Equal(got, want) {
		t.Errorf("perf: %v, %v, want %v", got, err, want)
	}
	got, err = parseStrace("% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n" +
		" 60.00    0.000100          10        10         2 read\n 40.00    0.000000           0         3           write\n100.00    0.000100           7        13         2 total\n")
	if want := map[string]int64{"": 13, "read": 10, "write": 3}; err != nil || !maps.Equal(got, want) {
		t.Errorf("strace: %v, %v, want %v", got, err, want)
	}
	for name, parse := range map[string]func(string) (map[string]int64, error){"perf": parsePerf, "strace": parseStrace} {
		if got, err := parse("Permission denied\n"); err == nil {
			t.Errorf("%s: %v for an error message, want an error", name, got)
		}
	}
}
