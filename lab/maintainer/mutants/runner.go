package mutants

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits for a mutant.
const (
	slower   = 4               // a suite may take 4 times as long as without a mutant, plus world.grace
	building = 5 * time.Minute // for one build, on a busy machine
	data     = 4 << 20         // KiB of data (4 GiB): an endless loop that appends must not use up all memory
	kept     = 64 << 10        // bytes from the end of the output are kept
)

// A runner tests mutants in a temporary folder.
type runner struct {
	world   *world
	timeout time.Duration
	dir     string

	mu    sync.Mutex
	named int
	bases map[suite]*baseline
}

// A baseline is the result of a suite without a mutant.
type baseline struct {
	once sync.Once
	took time.Duration
	err  error
}

func newRunner(w *world, timeout time.Duration) (*runner, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	return &runner{world: w, timeout: timeout, dir: dir, bases: map[suite]*baseline{}}, nil
}

func (r *runner) close() { _ = os.RemoveAll(r.dir) }

// newDir makes a folder for one mutant.
func (r *runner) newDir() (string, error) {
	r.mu.Lock()
	r.named++
	dir := filepath.Join(r.dir, strconv.Itoa(r.named))
	r.mu.Unlock()
	return dir, os.MkdirAll(filepath.Join(dir, "tmp"), 0o755)
}

// test runs the tests until one fails, and records the outcome in res. An error means that the tests could not be run.
func (r *runner) test(ctx context.Context, m *mutant, res *result) error {
	dir, err := r.newDir()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := m.overlay(r.world.root, dir)
	if err != nil {
		return err
	}
	for _, s := range r.world.steps(m.unit) {
		limit, err := r.limit(ctx, s)
		if err != nil {
			return err
		}
		bin, err := r.build(ctx, s, dir, overlay)
		switch {
		case errors.Is(err, errBuild):
			res.Status, res.Why = broken, err.Error()
			return nil
		case err != nil:
			return err
		case bin == "": // no tests
			continue
		}
		why, err := r.fails(ctx, s, bin, dir, limit)
		if err != nil {
			return err
		}
		if why != "" {
			res.Status, res.By, res.Why = killed, s.name, why
			return nil
		}
	}
	res.Status = survived
	return nil
}

// overlay writes the changed file, and the file for the flag -overlay of go test.
func (m *mutant) overlay(root, dir string) (string, error) {
	copied := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(copied, m.source(), 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(root, filepath.FromSlash(m.File))
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{path: copied}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}

// limit returns how long a suite may take with a mutant. It measures the suite without a mutant first.
func (r *runner) limit(ctx context.Context, s suite) (time.Duration, error) {
	r.mu.Lock()
	b := r.bases[s]
	if b == nil {
		b = &baseline{}
		r.bases[s] = b
	}
	r.mu.Unlock()
	b.once.Do(func() { b.took, b.err = r.measure(ctx, s) })
	return min(slower*b.took+r.world.grace, r.timeout), b.err
}

// measure runs a suite without a mutant and returns the time that it takes. If the suite fails, it gets a second try.
func (r *runner) measure(ctx context.Context, s suite) (time.Duration, error) {
	dir, err := r.newDir()
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin, err := r.build(ctx, s, dir, "")
	if err != nil || bin == "" {
		return 0, err
	}
	start := time.Now()
	why, err := r.once(ctx, s, bin, dir, s.run, r.timeout)
	if err == nil && why != "" {
		start = time.Now()
		why, err = r.once(ctx, s, bin, dir, s.run, r.timeout)
	}
	if err == nil && why != "" {
		err = fmt.Errorf("the %s fail without a mutant: %s", s.name, why)
	}
	return time.Since(start), err
}

var errBuild = errors.New("it does not compile")

// build builds the test binary of a package, once for each mutant. It returns "" if the package has no tests.
func (r *runner) build(ctx context.Context, s suite, dir, overlay string) (string, error) {
	bin := filepath.Join(dir, strings.NewReplacer("/", "_", ".", "_").Replace(s.path)+".test")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	args := []string{"test", "-c", "-vet=off", "-o", bin}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	ctx, cancel := context.WithTimeout(ctx, building)
	defer cancel()
	said, err := run(ctx, r.world.root, r.world.env, "go", append(args, s.path)...)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("go test -c %s: %w", s.path, ctx.Err())
	case errors.As(err, &exit) && overlay != "" && !strings.Contains(said, "no space left"):
		return "", fmt.Errorf("%w: %s", errBuild, squeeze(said, 300))
	case err != nil:
		return "", fmt.Errorf("go test -c %s: %w\n%s", s.path, err, said)
	}
	if _, err := os.Stat(bin); err != nil {
		return "", nil
	}
	return bin, nil
}

// fails returns the reason why a suite fails, or "" if it passes. A suite that starts servers may also fail because the
// machine is busy, so it must fail twice: either the failed test fails again alone, or the whole suite does.
func (r *runner) fails(ctx context.Context, s suite, bin, dir string, limit time.Duration) (string, error) {
	why, err := r.once(ctx, s, bin, dir, s.run, limit)
	if err != nil || why == "" || why == tooLong || r.world.quick(r.world.listed[s.path]) {
		return why, err
	}
	if name, ok := strings.CutPrefix(why, failing); ok {
		parts := strings.Split(name, "/")
		for i, p := range parts {
			parts[i] = "^" + regexp.QuoteMeta(p) + "$"
		}
		again, err := r.once(ctx, s, bin, dir, strings.Join(parts, "/"), limit)
		if err != nil || again != "" {
			return cmp.Or(again, why), err
		}
	}
	return r.once(ctx, s, bin, dir, s.run, limit)
}

const (
	tooLong = "it takes too long"
	failing = "--- FAIL: "
)

// once runs a suite once. It returns the reason why the suite fails, or "" if it passes.
func (r *runner) once(ctx context.Context, s suite, bin, dir, pattern string, limit time.Duration) (string, error) {
	timely, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := []string{"-c", fmt.Sprintf(`ulimit -d %d; exec "$@"`, data), "sh", bin, "-test.failfast", "-test.paniconexit0", "-test.timeout=0"}
	if pattern != "" {
		args = append(args, "-test.run="+pattern)
	}
	if s.skip != "" {
		args = append(args, "-test.skip="+s.skip)
	}
	env := append([]string{"TMPDIR=" + filepath.Join(dir, "tmp")}, r.world.env...)
	said, err := run(timely, r.world.listed[s.path].Dir, env, "sh", args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case timely.Err() != nil:
		return tooLong, nil
	case errors.As(err, &exit):
		return reason(said, err), nil
	}
	return "", err
}

var (
	failLine  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	panicLine = regexp.MustCompile(`(?m)^(?:panic|fatal error): .*`)
)

// reason returns the panic, or else the first innermost test that failed.
func reason(said string, err error) string {
	if l := panicLine.FindString(said); l != "" {
		return squeeze(l, 120)
	}
	name := ""
	for _, m := range failLine.FindAllStringSubmatch(said, -1) {
		if name != "" && !strings.HasPrefix(m[1], name+"/") {
			break
		}
		name = m[1]
	}
	if name == "" {
		return squeeze(fmt.Sprintf("%v %s", err, said), 120)
	}
	return failing + name
}

// run runs a command in a process group of its own, and kills what is left of the group at the end. It returns the end
// of the command's output.
func run(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	said := &tail{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second // for a process that left the group and still has the pipe open
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	group := cmd.Process.Pid
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-group, unix.SIGKILL) })
	// WNOWAIT leaves a zombie. The kernel does not reuse its number until cmd.Wait, so the kill below cannot hit
	// another group.
	for {
		err := unix.Waitid(unix.P_PID, group, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	stop()
	_ = unix.Kill(-group, unix.SIGKILL)
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return said.String(), err
}

// A tail keeps only the end of what is written to it, because a mutant may write for ever.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*kept {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-kept:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
