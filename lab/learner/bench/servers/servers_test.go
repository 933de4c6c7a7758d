package servers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConfig checks what the configurations of nginx and h2o say.
func TestConfig(t *testing.T) {
	s := settings{Dir: "/d", Root: "/d/root", Port: 8081, Workers: 3, Conns: 9000, Files: 10000}
	for _, tt := range []struct {
		name         string
		template     func(settings) ([]byte, error)
		wants, never []string
	}{
		{
			"nginx", func(s settings) ([]byte, error) { return render(nginxConf, s) },
			[]string{
				"daemon off;", "worker_processes 3;", "worker_connections 9000;", "worker_rlimit_nofile 10000;", "access_log off;",
				"listen 127.0.0.1:8081 ", "root /d/root;", "return 200 '{}';", "keepalive_requests 1000000000;",
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
