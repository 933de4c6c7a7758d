// Package netns runs tests as if on a machine with another network. In a network namespace the machine has
// IPv4 and IPv6 addresses, only one of the two, or unusual defaults. With a filter on socket(2) the kernel seems
// to lack an address family.
package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
)

const (
	// netEnv is the environment variable that tells a test binary that it runs in a new network namespace.
	// Its value is the Machine to set up there.
	netEnv = "SERVERTEST_NET"
	// lackArg makes a test binary execute another program without an address family:
	// lackArg FAMILY PROGRAM ARGS…
	lackArg = "servertest-lack"
	// exitUnable is the exit status of a test binary that cannot set up its namespace or its filter.
	exitUnable = 77
)

// Enter must be called at the beginning of TestMain, before Main. If a test has started this process to run in a
// network namespace or to execute a server without an address family, Enter sets this up.
func Enter() {
	if len(os.Args) > 3 && os.Args[1] == lackArg {
		fmt.Fprintln(os.Stderr, execWithout(os.Args[2], os.Args[3:]))
		os.Exit(exitUnable)
	}
	if kind := os.Getenv(netEnv); kind != "" && os.Getenv(process.SelfEnv) == "" {
		if err := setUp(Machine(kind)); err != nil {
			fmt.Fprintf(os.Stderr, "the network namespace: %v\n", err)
			os.Exit(exitUnable)
		}
	}
}

// execWithout replaces this process by another program, in which socket(2) fails with EAFNOSUPPORT for one
// family. With no_new_privs the filter needs no privilege, see seccomp(2).
func execWithout(family string, argv []string) error {
	number, err := strconv.ParseUint(family, 10, 32)
	if err != nil {
		return err
	}
	firstArg := uint32(16) // of seccomp_data: int nr; u32 arch; u64 ip; u64 args[6]
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		firstArg += 4
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	ret := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	filter := []unix.SockFilter{
		load(0),
		unless(unix.SYS_SOCKET, 3),
		load(firstArg),
		unless(uint32(number), 1),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	runtime.LockOSThread() // the filter belongs to this thread, so this thread must call execve
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return os.NewSyscallError("execve", syscall.Exec(argv[0], argv, os.Environ()))
}

// Lack returns a Config.Wrap that starts the server without an address family.
func Lack(family int) []string {
	me, err := os.Executable()
	if err != nil {
		return []string{"no-executable"}
	}
	return []string{me, lackArg, strconv.Itoa(family)}
}

// A Machine is a kind of network that a machine can have.
type Machine string

const (
	BothFamilies Machine = "both"       // as on most machines
	IPv4Only     Machine = "ipv4"       // no IPv6 address, but IPv6 sockets can be made
	IPv6Only     Machine = "ipv6"       // no IPv4 address, not even 127.0.0.1
	V6OnlySet    Machine = "bindv6only" // net.ipv6.bindv6only = 1
)

// setUp turns a new network namespace into a machine of that kind. It must run before Go's net package
// examines the network, which the package does only once.
func setUp(kind Machine) error {
	set := func(name, value string) error {
		return os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0)
	}
	switch kind {
	case IPv4Only:
		if err := set("conf/all/disable_ipv6", "1"); err != nil {
			return err
		}
	case V6OnlySet:
		if err := set("bindv6only", "1"); err != nil {
			return err
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil { // this also gives lo its addresses
		return os.NewSyscallError("ioctl SIOCSIFFLAGS", err)
	}
	if kind == IPv6Only {
		if err := lo.SetInet4Addr([]byte{0, 0, 0, 0}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, lo); err != nil { // the address 0.0.0.0 removes 127.0.0.1
			return os.NewSyscallError("ioctl SIOCSIFADDR", err)
		}
	}
	return nil
}

// Elsewhere runs the calling test in a second process, on this kind of machine, and takes over its outcome.
// In the second process it returns true, and the test goes on. In the first process it returns false.
func Elsewhere(t *testing.T, kind Machine) (there bool) {
	t.Helper()
	if os.Getenv(netEnv) != "" {
		return true
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	var out []byte
	var state *os.ProcessState
	// Root needs no user namespace, and some machines forbid user namespaces.
	for _, flags := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWNET | unix.CLONE_NEWUSER} {
		cmd := exec.Command(me, "-test.run", strings.Join(parts, "/"), "-test.v", "-test.timeout", "2m")
		cmd.Env = append(os.Environ(), netEnv+"="+string(kind))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&unix.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		out, err = cmd.CombinedOutput()
		state = cmd.ProcessState
		if state != nil && state.ExitCode() != exitUnable {
			break
		}
	}
	switch {
	case state == nil:
		record.Missing(t, "needs network namespaces: %v", err)
	case state.ExitCode() == exitUnable:
		record.Missing(t, "needs network namespaces: %s", out)
	case err != nil:
		t.Errorf("on a machine with %s: %v%s", kind, err, process.Indent(string(out)))
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("on a machine with %s the test did not run:%s", kind, process.Indent(string(out)))
	default:
		t.Logf("on a machine with %s:%s", kind, process.Indent(string(out)))
	}
	return false
}

// Inside reports whether this process was started by Again or Elsewhere, in a network of its own.
func Inside() bool { return os.Getenv(netEnv) != "" }

// capNetAdmin is CAP_NET_ADMIN of linux/capability.h.
const capNetAdmin = 12

// Again runs this program again with the same arguments, on a machine of that kind, and returns its exit status. It
// returns an error if this machine allows no network namespaces. main must call Enter. Again kills whatever the program has
// left behind, so this process must have no other child process.
func Again(ctx context.Context, kind Machine) (status int, err error) {
	me, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if err := process.Adopt(); err != nil {
		return 0, os.NewSyscallError("prctl", err)
	}
	defer process.KillAdopted()
	// A user keeps the own ID in the new namespace, so that a server does not believe that it is root.
	user := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWUSER, AmbientCaps: []uintptr{capNetAdmin},
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
	for _, attr := range []*syscall.SysProcAttr{{Cloneflags: unix.CLONE_NEWNET}, user} {
		cmd := exec.CommandContext(ctx, me, os.Args[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = process.StopPatience
		cmd.Env = append(os.Environ(), netEnv+"="+string(kind))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		attr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr = attr
		err = cmd.Run()
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() != exitUnable {
			return cmd.ProcessState.ExitCode(), nil
		}
	}
	return 0, err
}

// EnterNetwork moves the calling goroutine to a fresh network of that kind. Servers that the goroutine
// starts and connections that it makes are in this network too. The goroutine must call leave before it ends.
//
// Until then the goroutine is locked to its thread. The thread must not end with the goroutine: the
// kernel would kill every server that any goroutine has started from this thread (Pdeathsig).
func EnterNetwork(kind Machine) (leave func(), err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	// Try the way back first: without it the thread could not be used again.
	if err = setNetwork(home); err == nil {
		err = os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET))
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, errors.Join(err, home.Close())
	}
	leave = func() {
		defer func() { _ = home.Close() }()
		if err := setNetwork(home); err != nil {
			panic(err) // it has worked on the way in
		}
		runtime.UnlockOSThread()
	}
	if err := setUp(kind); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// setNetwork moves the calling thread to a network namespace.
func setNetwork(ns *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
}
