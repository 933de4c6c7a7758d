package grade

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/lab/support/slow"
)

// greedy starts the program of testdata/greedy that takes too much of one thing, and sends it a request. It returns the
// answer.
func greedy(t *testing.T, what string, b process.Bounds) (*process.Server, string) {
	t.Helper()
	prog := &process.Program{Path: greedyPath(t, what), Stage: 1, Guest: &process.Guest{Bounds: b}}
	s, err := prog.Begin(process.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	conn, err := s.Dial(process.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(process.Patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // a reset says that it was killed
	return s, string(answer)
}

func greedyPath(t *testing.T, what string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), what)
	if err := os.Symlink(badServer(t, "greedy"), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// TestBounds checks that a program that uses too much is killed with its child processes, and that the reason is given.
func TestBounds(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		bounds process.Bounds
		reason string
	}{
		"memory": {process.Bounds{Memory: 100 << 20}, "MB of memory, and may use 100"},
		"tasks":  {process.Bounds{Tasks: 60}, "processes and threads, and may have 60"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, _ := greedy(t, what, tt.bounds) // on a busy machine, it may answer before the grader looks
			if _, _, ok := s.Wait(process.Patience); !ok || !strings.Contains(s.Crashed(), tt.reason) {
				t.Errorf("it ended: %v; %q, want %q", ok, s.Crashed(), tt.reason)
			}
			if _, answer := greedy(t, what, process.Bounds{}); !strings.HasSuffix(answer, "\r\n\r\nok") {
				t.Errorf("without bounds the answer is %q, want ok", answer)
			}
		})
	}
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		if _, answer := greedy(t, "files", process.Bounds{Files: 100}); !strings.HasSuffix(answer, "too many open files") {
			t.Errorf("the answer is %q", answer)
		}
	})
}

// TestStrays ends servers that have started a daemon: it is in another session, and its parent has ended.
func TestStrays(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *process.Server){
		"killed":     (*process.Server).Kill,
		"terminated": (*process.Server).Dismiss,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, answer := greedy(t, "daemon", process.Bounds{Files: 1000})
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			pid, err := strconv.Atoi(body)
			if err != nil || syscall.Kill(pid, 0) != nil {
				t.Fatalf("there is no daemon %q: %v", body, err)
			}
			end(s)
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Errorf("the daemon is still there (%v)", err)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
	}
	t.Run("measured", func(t *testing.T) {
		t.Parallel()
		s, _ := greedy(t, "daemon-memory", process.Bounds{Memory: 100 << 20})
		if _, _, ok := s.Wait(process.Patience); !ok || !strings.Contains(s.Crashed(), "MB of memory, and may use 100") {
			t.Errorf("it ended: %v, %q", ok, s.Crashed())
		}
	})
}

// TestSlowConfine grades a program that counts the network interfaces, with the real lab: it runs itself again in a network
// namespace.
func TestSlowConfine(t *testing.T) {
	slow.Test(t)
	args := []string{"grade", "--exec", greedyPath(t, "network"), "--stage", "1", "-t", "first-request", "--confine"}
	grade := func(cmd *exec.Cmd) string {
		said, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			record.Missing(t, "needs user namespaces: %v", err)
		}
		return string(said)
	}
	t.Run("confined", func(t *testing.T) {
		text := grade(exec.Command(build(t, "lab"), args...))
		switch {
		case strings.Contains(text, "can reach the network"):
			record.Missing(t, "needs network namespaces: %s", text)
		case !strings.Contains(text, "no network but loopback") || strings.Contains(text, "FAIL"):
			t.Errorf("with --confine:\n%s", text)
		}
	})
	t.Run("hidden daemon", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		cmd := exec.Command(build(t, "lab"), slices.Replace(slices.Clone(args), 2, 3, greedyPath(t, "daemon-hidden"))...)
		cmd.Env = append(os.Environ(), "PID_FILE="+file)
		if text := grade(cmd); strings.Contains(text, "can reach the network") {
			record.Missing(t, "needs network namespaces: %s", text)
		}
		text, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(string(text))
		if err != nil || pid == 0 {
			t.Fatalf("no daemon was started: %q, %v", text, err)
		}
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("the daemon is still there (%v)", err)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	t.Run("no namespaces", func(t *testing.T) {
		// The limit of a user namespace holds only inside.
		const forbid = `echo 0 >/proc/sys/user/max_net_namespaces && exec "$0" "$@"`
		cmd := exec.Command("sh", append([]string{"-c", forbid, build(t, "lab")}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if text := grade(cmd); !strings.Contains(text, "can reach the network, because this machine allows no network namespaces") {
			t.Errorf("without namespaces:\n%s", text)
		}
	})
}
