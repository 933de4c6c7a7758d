package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The stages are similar to those of the four main.go.
var (
	stage1 = Stage{Name: "stage1-iterative", Idle: 5 * time.Second}
	stage2 = Stage{Name: "stage2-threadpool", Workers: 64, Idle: 5 * time.Second}
	stage3 = Stage{Name: "stage3-dualstack", Workers: 64, Idle: 5 * time.Second, Bind: true}
	stage4 = Stage{Name: "stage4-epoll", Workers: PerCPU, Idle: time.Minute, Bind: true, Defer: true, LoopFiles: 2}
)

func ExampleStage() {
	o, err := parse(Stage{Name: "stage2-threadpool", Workers: 64}, []string{"-as", "-p8080", "--root=/srv/www"})
	fmt.Println(o.port, o.root, o.fallback, o.silent, o.workers, err)
	_, err = parse(Stage{Name: "stage1-iterative"}, []string{"-n", "8"})
	fmt.Println(err)
	// Output:
	// 8080 /srv/www true true 64 <nil>
	// -n: this stage serves one connection at a time; stage2-threadpool adds the pool
}

func TestDefaults(t *testing.T) {
	for _, tt := range []struct {
		stage   Stage
		workers int
	}{
		{stage1, 1},
		{stage2, 64},
		{stage3, 64},
		{stage4, runtime.GOMAXPROCS(0)},
	} {
		o, err := parse(tt.stage, nil)
		want := options{
			port: 8080, root: ".", expire: 86400 * time.Second, workers: tt.workers, bind: "auto",
			idle: tt.stage.Idle, header: 10 * time.Second, body: 30 * time.Second, write: 30 * time.Second, tier: 2 * time.Second,
		}
		if err != nil || o != want {
			t.Errorf("%s: %+v, %v", tt.stage.Name, o, err)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args string // separated by |
		set  func(o *options)
	}{
		{"-p|80", func(o *options) { o.port = 80 }},
		{"-p80", func(o *options) { o.port = 80 }},
		{"--port|80", func(o *options) { o.port = 80 }},
		{"--port=80", func(o *options) { o.port = 80 }},
		{"-p0", func(o *options) { o.port = 0 }},
		{"-p|65535", func(o *options) { o.port = 65535 }},
		{"-p|1|-p|2", func(o *options) { o.port = 2 }},
		{"-R|/srv", func(o *options) { o.root = "/srv" }},
		{"-R|-a", func(o *options) { o.root = "-a" }},
		{"--root=/a=b", func(o *options) { o.root = "/a=b" }},
		{"-a", func(o *options) { o.fallback = true }},
		{"--fallback", func(o *options) { o.fallback = true }},
		{"-s", func(o *options) { o.silent = true }},
		{"--silent", func(o *options) { o.silent = true }},
		{"-as", func(o *options) { o.fallback, o.silent = true, true }},
		{"-asp|80", func(o *options) { o.fallback, o.silent, o.port = true, true, 80 }},
		{"-ap80|-s", func(o *options) { o.fallback, o.silent, o.port = true, true, 80 }},
		{"-e|60", func(o *options) { o.expire = time.Minute }},
		{"--expire|2147483647", func(o *options) { o.expire = (1<<31 - 1) * time.Second }},
		{"-n|1", func(o *options) { o.workers = 1 }},
		{"--workers=4096", func(o *options) { o.workers = 4096 }},
		{"--bind|auto", func(*options) {}},
		{"--bind=dual", func(o *options) { o.bind = "dual" }},
		{"--bind=separate", func(o *options) { o.bind = "separate" }},
		{"--bind=4", func(o *options) { o.bind = "4" }},
		{"--bind=6", func(o *options) { o.bind = "6" }},
		{"--idle-timeout|500ms", func(o *options) { o.idle = 500 * time.Millisecond }},
		{"--header-timeout=1m30s", func(o *options) { o.header = 90 * time.Second }},
		{"--body-timeout=1ms", func(o *options) { o.body = time.Millisecond }},
		{"--write-timeout=24h", func(o *options) { o.write = 24 * time.Hour }},
		{"--notes|redis://127.0.0.1:6379", func(o *options) { o.notes = netip.MustParseAddrPort("127.0.0.1:6379") }},
		{"--notes=redis://[2001:db8::1]:1", func(o *options) { o.notes = netip.MustParseAddrPort("[2001:db8::1]:1") }},
		{"--notes=redis://localhost:65535", func(o *options) { o.notes = netip.MustParseAddrPort("127.0.0.1:65535") }},
		{"--tier-timeout=1ms", func(o *options) { o.tier = time.Millisecond }},
		{"--max-conns=1", func(o *options) { o.maxConns = 1 }},
		{"-a|--", func(o *options) { o.fallback = true }},
	} {
		want, err := parse(stage4, nil)
		if err != nil {
			t.Fatal(err)
		}
		tt.set(&want)
		if got, err := parse(stage4, strings.Split(tt.args, "|")); err != nil || got != want {
			t.Errorf("%s: %+v, %v", tt.args, got, err)
		}
	}
}

// TestBadFlags checks that an error names the flag as the user typed it and says what to do.
func TestBadFlags(t *testing.T) {
	const (
		none     = `no such flag; -h lists the flags`
		nothing  = `not a flag, and the program takes no other arguments; -h lists the flags`
		port     = `want a number from 0 to 65535`
		seconds  = `want a number of seconds from 1 to 2147483647`
		workers  = `want a number from 1 to 4096`
		timeouts = `want a time such as 60s or 500ms, from 1ms to 24h`
		conns    = `want a number from 1 to 1073741824`
		bind     = `want auto, dual, separate, 4 or 6`
		pool     = `this stage serves one connection at a time; stage2-threadpool adds the pool`
		dual     = `this stage listens on IPv4 alone; stage3-dualstack adds IPv6 and this flag`
	)
	type bad struct {
		stage      Stage
		args, want string
	}
	notes := func(url string) bad {
		return bad{stage1, "--notes|" + url, `--notes "` + url + `": want redis://ADDRESS:PORT with an IPv4 address, ` +
			`an IPv6 address in brackets, or localhost, and a port from 1 to 65535`}
	}
	for _, tt := range []bad{
		{stage4, "-x", `"-x": ` + none},
		{stage4, "-asx", `"-x": ` + none},
		{stage4, "--prot=80", `"--prot": ` + none},
		{stage4, "--p=80", `"--p": ` + none},
		{stage4, "-port=80", `-p "ort=80": ` + port},
		{stage4, "--\n", `"--\n": ` + none},
		{stage4, "8080", `"8080": ` + nothing},
		{stage4, "-a|--|x", `"x": ` + nothing},
		{stage4, "-", `"-": ` + nothing},
		{stage4, "", `"": ` + nothing},
		{stage4, "-p", `-p: the PORT is missing; -h explains the flag`},
		{stage4, "-ap", `-p: the PORT is missing; -h explains the flag`},
		{stage4, "--bind", `--bind: the HOW is missing; -h explains the flag`},
		{stage4, "--silent=yes", `--silent: this flag takes no value; leave out "=yes"`},
		{stage4, "--version=1", `--version: this flag takes no value; leave out "=1"`},
		{stage4, "-p|65536", `-p "65536": ` + port},
		{stage4, "-p|-1", `-p "-1": ` + port},
		{stage4, "-p|http", `-p "http": ` + port},
		{stage4, "-p|99999999999999999999", `-p "99999999999999999999": ` + port},
		{stage4, "--port=", `--port "": ` + port},
		{stage4, "-e|0", `-e "0": ` + seconds},
		{stage4, "-e|60s", `-e "60s": ` + seconds},
		{stage4, "-e|1.5", `-e "1.5": ` + seconds},
		{stage4, "-e|2147483648", `-e "2147483648": ` + seconds},
		{stage4, "-n|0", `-n "0": ` + workers},
		{stage4, "-n|4097", `-n "4097": ` + workers},
		{stage4, "--workers=all", `--workers "all": ` + workers},
		{stage4, "--bind|ipv6", `--bind "ipv6": ` + bind},
		{stage4, "--idle-timeout|5", `--idle-timeout "5": ` + timeouts},
		{stage4, "--header-timeout|0s", `--header-timeout "0s": ` + timeouts},
		{stage4, "--body-timeout|-1s", `--body-timeout "-1s": ` + timeouts},
		{stage4, "--write-timeout|1us", `--write-timeout "1us": ` + timeouts},
		{stage4, "--write-timeout|25h", `--write-timeout "25h": ` + timeouts},
		{stage4, "--tier-timeout|0s", `--tier-timeout "0s": ` + timeouts},
		notes(""), notes("memory"), notes("127.0.0.1:6379"), notes("redis://"), notes("redis://127.0.0.1"), notes("redis://127.0.0.1:"),
		notes("redis://127.0.0.1:0"), notes("redis://127.0.0.1:65536"), notes("redis://localhost"), notes("redis://localhost:0"),
		notes("redis://redis:6379"), notes("redis://user@127.0.0.1:6379"), notes("redis://:pass@127.0.0.1:6379"),
		notes("redis://127.0.0.1:6379/"), notes("redis://127.0.0.1:6379/1"), notes("redis://127.0.0.1:6379?db=1"), notes("redis://::1:6379"),
		notes("redis://[fe80::1%lo]:6379"), notes("REDIS://127.0.0.1:6379"), notes("rediss://127.0.0.1:6379"), notes("redis://localhost:[::1]:1"),
		{stage4, "--max-conns|0", `--max-conns "0": ` + conns},
		{stage1, "-n|8", `-n: ` + pool},
		{stage1, "--workers=8", `--workers: ` + pool},
		{stage1, "--bind|4", `--bind: ` + dual},
		{stage2, "--bind=nonsense", `--bind: ` + dual},
	} {
		_, err := parse(tt.stage, strings.Split(tt.args, "|"))
		var bad *BadFlag
		if !errors.As(err, &bad) || bad.Error() != tt.want {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.stage.Name, tt.args, err, tt.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"-h", "--help", "-ah", "-p|80|--help"} {
		if _, err := parse(stage1, strings.Split(args, "|")); !errors.Is(err, errHelp) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, args := range []string{"--version", "-p|80|--version"} {
		if _, err := parse(stage1, strings.Split(args, "|")); !errors.Is(err, errVersion) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, tt := range []struct {
		stage    Stage
		has, not []string
	}{
		{stage1, []string{"usage: stage1-iterative [flags]\n", "-p, --port PORT ", "(5s)", "(descriptors less 320)", "-h, --help ", "    --version "}, []string{"workers", "--bind"}},
		{stage2, []string{"-n, --workers WORKERS ", "(64)"}, []string{"--bind"}},
		{stage4, []string{"--bind HOW", "(1m0s)", fmt.Sprintf("(%d)", runtime.GOMAXPROCS(0)), "(descriptors less 320 and 2 for each worker)"}, nil},
	} {
		text := usage(tt.stage)
		for _, s := range tt.has {
			if !strings.Contains(text, s) {
				t.Errorf("the help of %s lacks %q:\n%s", tt.stage.Name, s, text)
			}
		}
		for _, s := range tt.not {
			if strings.Contains(text, s) {
				t.Errorf("the help of %s mentions %q", tt.stage.Name, s)
			}
		}
		for line := range strings.Lines(text) {
			if len(line) > 100 {
				t.Errorf("%d characters: %s", len(line), line)
			}
			if i := strings.Index(line, "--"); i >= 0 && i != len("  -p, ") {
				t.Errorf("the long form is at column %d: %s", i, line)
			}
		}
	}
}
