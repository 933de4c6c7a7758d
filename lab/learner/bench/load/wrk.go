package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Wrk is wrk(1), which costs less CPU time for each request than the engine. It cannot tell how many of its
// connections were served, and it takes only whole seconds.
type Wrk struct {
	Path    string
	Version string
	script  string // a file
}

// script prints what wrk has measured on one line. With batch > 1 it sends that many requests at once.
const script = `
init = function(args)
  local batch = tonumber(args[1])
  if batch > 1 then
    local all = {}
    for i = 1, batch do all[i] = wrk.format() end
    local joined = table.concat(all)
    request = function() return joined end
  end
end
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format("bench: us=%d requests=%d bytes=%d p50=%d p90=%d p99=%d max=%d connect=%d read=%d write=%d status=%d timeout=%d",
    summary.duration, summary.requests, summary.bytes, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
`

// FindWrk looks for wrk, and writes its script into dir. It returns nil if wrk is not installed.
func FindWrk(dir string) (*Wrk, error) {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return nil, nil
	}
	w := &Wrk{Path: path, script: filepath.Join(dir, "wrk.lua")}
	out, _ := exec.Command(path, "--version").Output() // wrk prints its version with status 1
	w.Version, _, _ = strings.Cut(string(out), " Copyright")
	w.Version = strings.TrimSpace(w.Version)
	return w, os.WriteFile(w.script, []byte(script), 0o644)
}

// A WrkRun is what wrk has measured.
type WrkRun struct {
	Elapsed            time.Duration
	Responses, Bytes   int64
	Errors             int64
	P50, P90, P99, Max time.Duration // of the requests that were answered
	CPU                time.Duration // of wrk itself
}

// Run runs wrk with one thread. If close is true, each request has a connection of its own.
func (w *Wrk) Run(ctx context.Context, url string, conns, seconds, batch int, closing bool) (WrkRun, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", seconds), "-s", w.script, url}
	if closing {
		args = append(args[:3:3], append([]string{"-H", "Connection: close"}, args[3:]...)...)
	}
	cmd := exec.CommandContext(ctx, w.Path, append(args, "--", fmt.Sprint(batch))...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return WrkRun{}, ctx.Err()
	}
	if err != nil {
		return WrkRun{}, fmt.Errorf("wrk: %w: %s", err, strings.TrimSpace(string(out)))
	}
	run, err := parseWrk(string(out))
	run.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return run, err
}

// parseWrk reads the line of the script in the output of wrk.
func parseWrk(out string) (WrkRun, error) {
	_, line, ok := strings.Cut(out, "bench: ")
	if !ok {
		return WrkRun{}, errors.New("wrk: the output has no line of the script")
	}
	line, _, _ = strings.Cut(line, "\n")
	var us, p50, p90, p99, most int64
	var connect, read, write, status, timeout int64
	var r WrkRun
	_, err := fmt.Sscanf(line, "us=%d requests=%d bytes=%d p50=%d p90=%d p99=%d max=%d connect=%d read=%d write=%d status=%d timeout=%d",
		&us, &r.Responses, &r.Bytes, &p50, &p90, &p99, &most, &connect, &read, &write, &status, &timeout)
	if err != nil {
		return WrkRun{}, fmt.Errorf("wrk: %w in the line %q", err, line)
	}
	r.Elapsed = time.Duration(us) * time.Microsecond
	r.Errors = connect + read + write + status + timeout
	for to, from := range map[*time.Duration]int64{&r.P50: p50, &r.P90: p90, &r.P99: p99, &r.Max: most} {
		*to = time.Duration(from) * time.Microsecond
	}
	return r, nil
}
