// Package netns makes other machines out of this one: with network namespaces a machine that has both
// families of addresses, or one of them, or odd defaults; with a filter on socket(2) a kernel that does not
// know a family.
package netns

import (
	"encoding/binary"
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

// Machines that have both families, one of them, or odd defaults are made with network
// namespaces: a test binary starts itself in one, furnishes it, and runs the test there
// as if nothing were. What a namespace cannot take away, a kernel without a family, a filter
// on socket(2) does.

const (
	// netEnv tells a test binary that it is in a fresh network namespace, and how to furnish it.
	netEnv = "SERVERTEST_NET"
	// lackArg has a test binary take a family from the program that it becomes:
	// lackArg FAMILY PROGRAM ARGS…
	lackArg = "servertest-lack"
	// unable is the exit status of a test binary that cannot furnish its namespace.
	unable = 77
)

// Enter is for the beginning of a TestMain, before Main: it does what this process was started
// for by another test binary.
func Enter() {
	if len(os.Args) > 3 && os.Args[1] == lackArg {
		fmt.Fprintln(os.Stderr, become(os.Args[2], os.Args[3:]))
		os.Exit(unable)
	}
	if kind := os.Getenv(netEnv); kind != "" && os.Getenv(process.SelfEnv) == "" {
		if err := furnish(kind); err != nil {
			fmt.Fprintf(os.Stderr, "the network namespace: %v\n", err)
			os.Exit(unable)
		}
	}
}

// become replaces this process by another program, for which socket(2) fails with EAFNOSUPPORT for
// one family. It needs no privilege: no_new_privs takes the place of one, see seccomp(2).
func become(family string, argv []string) error {
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
	runtime.LockOSThread() // a filter is a thread's, and the thread that calls execve goes on
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

// Lack is a Config.Wrap that takes a family from the server.
func Lack(family int) []string {
	me, err := os.Executable()
	if err != nil {
		return []string{"no-executable"}
	}
	return []string{me, lackArg, strconv.Itoa(family)}
}

// A Machine is a kind of network.
type Machine string

const (
	BothFamilies Machine = "both" // as most machines are
	IPv4Only     Machine = "ipv4" // IPv6 is disabled: no address, though the sockets are there
	IPv6Only     Machine = "ipv6" // no IPv4 address, not even 127.0.0.1
	V6OnlySet    Machine = "bindv6only"
)

// furnish makes a fresh network namespace a machine of that kind. Nothing may have looked at the
// network before: Go's net package does once.
func furnish(kind string) error {
	set := func(name, value string) error {
		return os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0)
	}
	switch Machine(kind) {
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
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil { // it gets its addresses by this
		return os.NewSyscallError("ioctl SIOCSIFFLAGS", err)
	}
	if Machine(kind) == IPv6Only {
		if err := lo.SetInet4Addr([]byte{0, 0, 0, 0}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, lo); err != nil { // 0.0.0.0 removes the address
			return os.NewSyscallError("ioctl SIOCSIFADDR", err)
		}
	}
	return nil
}

// Elsewhere runs the test that calls it once more, in this kind of network, and makes its outcome
// that of this one. There it returns true, and the test goes on.
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
	// Root needs no user namespace, and may be forbidden one.
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
		if state != nil && state.ExitCode() != unable {
			break
		}
	}
	switch {
	case state == nil:
		record.Missing(t, "needs network namespaces: %v", err)
	case state.ExitCode() == unable:
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

// EnterNetwork takes the calling goroutine, with a thread that is never given back, to a fresh network
// of that kind. Servers that it starts and connections that it makes are there, too.
func EnterNetwork(kind Machine) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return furnish(string(kind))
}
