package tier

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// ErrNoRedis means that this machine has neither a redis-server nor a valkey-server.
var ErrNoRedis = errors.New("needs redis-server: apt-get install redis-server")

// A Redis is a process of a real redis-server or valkey-server, which stores nothing on the disk.
type Redis struct {
	Port int

	cmd *exec.Cmd
}

// StartRedis starts a Redis on a free port of 127.0.0.1.
func StartRedis() (*Redis, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	r := &Redis{Port: port}
	return r, r.Start()
}

// URL returns the value for the flag --notes.
func (r *Redis) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", r.Port) }

// Start starts the process, for the first time or after Kill, and returns when it listens. After Kill the Redis is
// empty.
func (r *Redis) Start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		path, err = exec.LookPath("valkey-server")
	}
	if err != nil {
		return ErrNoRedis
	}
	r.cmd = exec.Command(path, "--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	if !kernel.Eventually(process.Patience, func() bool { return kernel.Listening(r.Port) }) {
		r.Kill()
		return fmt.Errorf("%s does not listen on port %d", path, r.Port)
	}
	return nil
}

// Kill kills the process and waits for its end.
func (r *Redis) Kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// Suspend stops the process: the kernel still accepts connections and bytes for it. Resume lets it go on.
func (r *Redis) Suspend() { _ = r.cmd.Process.Signal(unix.SIGSTOP) }

// Resume ends Suspend.
func (r *Redis) Resume() { _ = r.cmd.Process.Signal(unix.SIGCONT) }

// Do sends one command, and returns the first line of the reply without its line end.
func (r *Redis) Do(words ...string) (string, error) {
	c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(process.Patience))
	if _, err := io.WriteString(c, Array(words...)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}
