package trace

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/lab/learner/trace/tape"
)

// straceMissing says why strace cannot be used here, and how to get it. It returns nil if strace works.
func straceMissing() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is missing, which prints the system calls; on Debian: apt-get install strace")
	}
	if out, err := exec.Command("strace", "-D", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace cannot attach to a process here: %s; it needs ptrace(2), which a container may forbid "+
			"(docker run --cap-add=SYS_PTRACE) and /proc/sys/kernel/yama/ptrace_scope may limit", strings.TrimSpace(string(out)))
	}
	return nil
}

// A recorder runs servers under strace.
type recorder struct {
	file  string            // where strace writes
	paths map[string]string // the folders of this machine, and the names that stand for them on a tape
}

// newRecorder makes a recorder that writes into dir.
func newRecorder(dir string) *recorder {
	r := &recorder{file: filepath.Join(dir, "strace"), paths: map[string]string{}}
	if cwd, err := os.Getwd(); err == nil {
		r.paths[cwd] = "/home/user"
	}
	return r
}

// under returns the program that runs prog under strace. With -D the server is still a child of this process, and
// strace is its grandchild.
func (r *recorder) under(prog *process.Program) *process.Program {
	return &process.Program{
		Path: "strace", Stage: prog.Stage, Env: prog.Env,
		Args: slices.Concat([]string{
			"-D", "-A", "-f", "-q", "-ttt", "-T", "-yy", "-s", "48", "-o", r.file, "--", prog.Path,
		}, prog.Args),
	}
}

// begins are the calls before the first action of a client that a tape keeps: they say which epoll sets are the
// server's.
var begins = regexp.MustCompile(`^\d+ +[\d.]+ (?:epoll_c|eventfd|listen|bind|<\.\.\. (?:epoll_c|eventfd|listen|bind))`)

// strace returns the output of strace: what happened between the times, and the calls before that had not returned.
func (r *recorder) strace(from, to time.Duration, most int) (string, error) {
	out, err := os.ReadFile(r.file)
	if err != nil {
		return "", err
	}
	text := string(out)
	var olds []string
	for old := range r.paths {
		olds = append(olds, old)
	}
	slices.SortFunc(olds, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, old := range olds {
		text = strings.ReplaceAll(text, old, r.paths[old])
	}
	return tape.Trim(text, from, to, most, begins), nil
}
