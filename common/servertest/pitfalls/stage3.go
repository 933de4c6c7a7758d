package pitfalls

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
)

// stage3Scenarios are about the two families of addresses, and about machines that are not like this one.
func stage3Scenarios() []Scenario {
	listen := Place{Dir: "STAGE", Func: "Listen"}
	separate := Place{Dir: "STAGE", Func: "separate"}
	return []Scenario{
		{
			ID: "ipv4-only", Stage: 3,
			Bug:      "the listening socket is of the family AF_INET",
			Question: "The server listens on 0.0.0.0. B comes to the same machine by IPv6. What does B see?",
			Choices:  []string{"its page: 0.0.0.0 is every address", "connection refused", "a connection on which nothing is answered"},
			Answer:   1, Assertion: "ipv6-client-let-in",
			Usually: "that 0.0.0.0 is taken for \"everything\": it is every IPv4 address, and nothing else",
			Where:   []Place{listen, {Dir: "STAGE", Func: "listen"}},
			Fails:   stages.In(1, 2), Needs: needsIPv6,
			Run: func(s *S) { servesBoth(s) },
		},
		{
			ID: "first-address", Stage: 3,
			Bug:      "the first of a list of addresses is bound, whatever its family",
			Question: "The server binds the first address that the resolver lists for it. It is tried with :: first, then with 0.0.0.0 first. Who gets in?",
			Choices:  []string{"both families, either way", "both with :: first, by luck; with 0.0.0.0 first no IPv6 client", "IPv6 in the first case, IPv4 in the second"},
			Answer:   1, Assertion: "both-families-in-either-order",
			Usually: "that the order of a list decides: listening wants all addresses that clients may use, not the first one that works",
			Where:   []Place{listen, separate},
			Fails:   stages.In(1, 2), Needs: needsIPv6, NoServer: true,
			Run: func(s *S) {
				for _, order := range []string{"6 4", "4 6"} {
					s.Step("the server starts, where the resolver lists the families in the order %s", order)
					server := s.Begin(Config{Env: []string{"ADDRESS_ORDER=" + order}})
					s.Saw("it listens")
					servesBoth(s)
					server.Kill()
				}
			},
		},
		{
			ID: "alternate-accept", Stage: 3,
			Bug:      "one loop accepts from the IPv6 socket, then from the IPv4 socket, and so on",
			Question: "Two listening sockets, one loop: accept from the one, then from the other. A comes by IPv6 and is served. Then B comes by IPv6. What does B see?",
			Choices:  []string{"its page", "it is connected, and waits until somebody comes by IPv4", "connection refused"},
			Answer:   1, Assertion: "served-without-the-other-family",
			Usually: "that one thread blocks in accept on one socket, while clients wait at another: a thread for each, or poll(2) over both",
			Where:   []Place{{Dir: "STAGE", Func: "Serve", Has: "acceptAll("}, {Dir: "STAGE", Func: "acceptAll"}},
			Stages:  stages.In(3, 4), Needs: needsIPv6, Flags: []string{"--bind", "separate"},
			Run: func(s *S) {
				for i, ipv6 := range []bool{true, true, false, false} {
					p := connectBy(s, string(rune('A'+i)), ipv6)
					p.Send("GET /plain.txt", plainGet)
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "%s gets: %s", p.Name, scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "dual-bind-clash", Stage: 3,
			Bug:      "two sockets for one port, and IPV6_V6ONLY is not set",
			Question: "The server opens an IPv6 socket on a port, with the system's default options, and then an IPv4 socket on the same port. What happens?",
			Choices:  []string{"both listen, each for its family", "the second fails: address already in use", "both listen, and IPv4 clients come to either"},
			Answer:   1, Assertion: "both-sockets-listen",
			Usually: "that an IPv6 socket takes the port in both families: IPV6_V6ONLY must be on before bind(2)",
			Where:   []Place{separate, {Dir: "STAGE", Func: "listen", Has: "l.V6Only"}},
			Stages:  stages.In(3, 4), Needs: needsIPv6, NoServer: true,
			Run: func(s *S) {
				starts(s, Config{Flags: []string{"--bind", "separate"}}, "with a socket for each family")
				servesBoth(s)
			},
		},
		{
			ID: "v6only-default", Stage: 3,
			Bug:      "the system's default for IPV6_V6ONLY is trusted to be off",
			Question: "An IPv6 socket is to take IPv4 clients, too, which is the default. The machine has net.ipv6.bindv6only = 1. What does an IPv4 client see?",
			Choices:  []string{"its page", "connection refused", "the server does not start"},
			Answer:   1, Assertion: "ipv4-client-let-in",
			Usually: "that a default is relied upon which the administrator may change: set the option, to on or to off",
			Where:   []Place{{Dir: "STAGE", Func: "listen", Has: "l.V6Only"}, listen},
			Stages:  stages.In(3, 4), Needs: needsNamespace, Network: true, NoServer: true,
			Run: func(s *S) {
				s.Step("the server starts, on a machine with net.ipv6.bindv6only = 1")
				if err := netns.EnterNetwork(netns.V6OnlySet); err != nil {
					s.Fatalf("the network namespace: %v", err)
				}
				s.Begin(Config{})
				s.Saw("it listens")
				servesBoth(s)
			},
		},
		{
			ID: "one-family-machine", Stage: 3,
			Bug:      "EAFNOSUPPORT is taken for the end",
			Question: "The kernel has no IPv6: socket(AF_INET6) fails with EAFNOSUPPORT. The server treats it as any error of listening. What does an IPv4 client see?",
			Choices:  []string{"its page", "connection refused: the server has not started", "an answer that says IPv6 is missing"},
			Answer:   1, Assertion: "starts-with-what-there-is",
			Usually: "that all errors of socket, bind and listen are treated alike: what the machine does not have is no reason not to serve the rest",
			Where:   []Place{{Dir: "STAGE", Func: "lacks"}, listen, separate},
			Stages:  stages.In(3, 4), Needs: needsFilter, NoServer: true,
			Run: func(s *S) {
				starts(s, Config{Wrap: netns.Lack(unix.AF_INET6)}, "on a machine without AF_INET6")
				a := connectBy(s, "A", false)
				a.Send("GET /plain.txt", plainGet)
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 200, "an IPv4 client gets: %s", scenario.InWords(resp, err))
				s.Step("the start line")
				said := strings.Contains(s.Server.Start, "IPv4 only")
				if said {
					s.Saw("says that it serves IPv4 only")
				} else {
					s.Saw("says nothing of it")
				}
				s.Assert(said, "the server does not say that it serves one family only: %s", s.Server.Start)
			},
		},
		{
			ID: "mapped-address", Stage: 3,
			Bug:      "a mapped address, ::ffff:a.b.c.d, is logged and compared as it comes",
			Question: "One IPv6 socket takes the clients of both families. A comes from 127.0.0.1. What does the log call A?",
			Choices:  []string{"127.0.0.1", "::ffff:127.0.0.1", "::1"},
			Answer:   1, Assertion: "one-name-for-a-client",
			Usually: "that an IPv4 client of an IPv6 socket has an IPv6 address: unmap it where the connection is accepted",
			Where:   []Place{{Dir: "STAGE", Func: "accept", Has: "Unmap()"}},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				s.Step("what does the log call A?")
				log := ""
				s.UntilAfter(process.Patience/4, func() bool {
					_, log, _ = strings.Cut(s.Server.Stdout.String(), "\n")
					return strings.Contains(log, "/plain.txt")
				})
				mapped := strings.Contains(log, "::ffff")
				switch {
				case mapped:
					s.Saw("::ffff:127.0.0.1")
				case strings.Contains(log, "127.0.0.1"):
					s.Saw("127.0.0.1")
				default:
					s.Fatalf("there is nobody in the log:%s", process.Indent(log))
				}
				s.Assert(!mapped, "an IPv4 client has an IPv6 name in the log: %s", strings.TrimSpace(log))
			},
		},
	}
}

// connectBy is Connect for a family that is named in the transcript.
func connectBy(s *S, name string, ipv6 bool) *Peer {
	if ipv6 {
		return s.ConnectWith(name, DialOptions{IPv6: true})
	}
	s.Step("%s connects by IPv4", name)
	p := s.Join(name, DialOptions{})
	if p.Conn == nil {
		s.Saw("refused")
	} else {
		s.Saw("connected")
	}
	return p
}

// servesBoth asserts that a client of each is served.
func servesBoth(s *S) {
	for _, ipv6 := range []bool{false, true} {
		name := map[bool]string{false: "A", true: "B"}[ipv6]
		p := connectBy(s, name, ipv6)
		s.Assert(p.Conn != nil, "%s is refused", map[bool]string{false: "an IPv4 client", true: "an IPv6 client"}[ipv6])
		p.Send("GET /plain.txt", plainGet)
		resp, err := p.Answer()
		s.Assert(err == nil && resp.Status == 200, "%s gets: %s", name, scenario.InWords(resp, err))
		p.Abandon() // an iterative server has others to serve
	}
}

// starts is Begin where it is the point whether the server starts. how says what is special about it.
func starts(s *S, c Config, how string) {
	s.Step("the server starts, %s", how)
	if c.Root == "" {
		c.Root = s.Root.Dir
	}
	c.Flags = slices.Concat(s.Scenario.Flags, c.Flags)
	server, err := s.Program.Begin(c)
	if err == nil {
		s.Server = server
		s.OnEnd(server.Kill)
		s.Saw("it listens")
		return
	}
	s.Saw("it has ended at once")
	s.Assert(false, "the server does not start: %v", err)
}

// needsIPv6 is a Scenario's Needs.
func needsIPv6() string {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Sprintf("needs IPv6: there is no ::1 on this machine: %v", err)
	}
	return ""
}

// needsNamespace tries it in a thread that ends with it.
func needsNamespace() string {
	why := make(chan string)
	go func() {
		if err := netns.EnterNetwork(netns.BothFamilies); err != nil {
			why <- fmt.Sprintf("needs network namespaces: %v", err)
		}
		close(why)
	}()
	return <-why
}

// needsFilter sees whether this program is one that can take a family from another one: see Enter.
func needsFilter() string {
	me := netns.Lack(unix.AF_INET6)
	p, err := os.StartProcess(me[0], append(me, "/bin/true"), &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err.Error()
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	if err != nil {
		return fmt.Sprintf("needs seccomp filters: %v", err)
	}
	return ""
}
