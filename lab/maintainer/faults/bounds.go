package faults

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/variants"
)

// The table of bounds in the document stands between these two lines.
const (
	boundsBegin = "<!-- bounds: this table is written by lab faults --bounds -->"
	boundsEnd   = "<!-- bounds: end -->"
)

// A bound is one row of the table of bounds.
type bound struct {
	what string
	// from is where the amount comes from, in the form DIR NAME: a constant of a package. unit says how to print it.
	from string
	unit unit
	// text follows the amount, or is the amount if from is "". "%s" in it stands for the amount.
	text string
	// shows is a part of the sources that shows the text, in the form FILE PART. It is for amounts without a constant.
	shows string
	flag  string // the flag that changes the amount, without its dashes
	// proof lists claims of docs/spec.md, trials, and tests, separated by spaces. A test begins with "Test".
	proof string
}

// A unit says how an amount is printed.
type unit int

const (
	count    unit = iota
	size          // bytes, as "16 KiB"
	duration      // nanoseconds, as "10 ms"
)

// A group is a part of the table.
type group struct {
	name   string
	bounds []bound
}

// bounds returns the table.
func bounds() []group {
	return []group{
		{"A request", []bound{
			{what: "empty lines before a request line", text: "2", shows: `common/h1/parser.go p.emptyLines > 2`, proof: "conn-empty-lines"},
			{what: "method", from: "common/h1 maxMethod", unit: size, proof: "line-method-8k"},
			{what: "request target", from: "common/h1 maxTarget", unit: size, proof: "line-target-8k"},
			{what: "request head, line ends included", from: "common/h1 maxHead", unit: size, proof: "field-head-64k"},
			{what: "field lines of a head", from: "common/h1 maxFields", proof: "field-200"},
			{what: "trailers", text: "as a head: %s, and as many field lines", from: "common/h1 maxHead", unit: size, proof: "chunk-trailer-limits"},
			{what: "body, without the chunked coding", from: "common/h1 maxBody", unit: size, proof: "body-length-413 body-length-1m chunk-413"},
			{what: "digits of a chunk size", from: "common/h1 maxHexDigits", proof: "chunk-size"},
			{what: "chunk line", from: "common/h1 maxChunkLine", unit: size, proof: "chunk-line-4k"},
			{what: "all chunk extensions of a request", from: "common/h1 maxChunkExt", unit: size, proof: "chunk-413"},
			{what: "pipelined requests that are answered with one send", text: "%s, and no further one once 16 KiB are queued", from: "common/h1 maxAnswers", proof: "conn-pipeline TestSharedSendIsBounded"},
		}},
		{"Time", []bound{
			{what: "before the first byte of a request", text: "5 s, in stage 4 60 s", shows: "stage4-epoll/main.go Idle: 60 * time.Second", flag: "idle-timeout", proof: "timeout-idle timeout-idle-new timeout-idle-default"},
			{what: "request head, from its first byte", text: "10 s", shows: "common/cli/flags.go header: 10 * time.Second", flag: "header-timeout", proof: "timeout-header timeout-header-fixed"},
			{what: "body, from the end of its head", text: "30 s", shows: "common/cli/flags.go body: 30 * time.Second", flag: "body-timeout", proof: "timeout-body timeout-body-fixed"},
			{what: "a response of which the client acknowledges nothing", text: "30 s, and at most an eighth more", shows: "common/cli/flags.go write: 30 * time.Second", flag: "write-timeout", proof: "timeout-write timeout-write-progress close-bounded"},
			{what: "read and drop after a refusal, time", from: "common/h1 drainTime", unit: duration, proof: "refuse-drain-bound"},
			{what: "read and drop after a refusal, bytes", from: "common/h1 drainBytes", unit: size, proof: "refuse-drain-size"},
			{what: "between two questions whether a response is acknowledged", text: "ten times %s, then 250 ms", from: "common/h1 probeSoon", unit: duration, proof: "TestIdleBeginsWhenAcknowledged"},
			{what: "a question to the other tier, connecting and the queue included", text: "2 s", shows: "common/cli/flags.go tier: 2 * time.Second", flag: "tier-timeout", proof: "TestTierTimeOut"},
			{what: "each of these flags", text: "1 ms to 24 h", shows: "common/cli/flags.go minTimeout, maxTimeout = time.Millisecond, 24 * time.Hour", proof: "cli-durations"},
			{what: "a graceful stop", text: "5 s: %s for the responses, the rest for the log", from: "common/cli grace", unit: duration, proof: "stop-five-seconds"},
			{what: "the last lines of the log", from: "common/cli exitPatience", unit: duration, proof: "output-unread"},
			{what: "life of a token", text: "86,400 s", shows: "common/cli/flags.go expire: 24 * time.Hour", flag: "expire", proof: "cli-expire token-expired"},
		}},
		{"Memory", []bound{
			{what: "all requests under way together, beyond the first 16 KiB of each", from: "common/h1 maxMemory", unit: size, proof: "memory-budget TestMemoryBudgetAtTheLimit"},
			{what: "request that is never refused for lack of memory", from: "common/h1 baseBuffer", unit: size, proof: "memory-budget TestMemoryBudgetAtTheLimit"},
			{what: "response buffers that a pooled exchange keeps, each", from: "common/h1 keepBuffer", unit: size, proof: "TestMemoryIsBounded idle-after-turn"},
			{what: "idle connection", text: "no buffer", proof: "idle-10000 idle-after-turn"},
			{what: "unacknowledged bytes that a closed connection leaves to the kernel", from: "common/h1 onePiece", unit: size, proof: "close-lingers TestLeaveAtTheLimit"},
			{what: "after a load, the heap is returned to the system", text: "every %s at most, within 30 s", from: "common/cli memoryTick", unit: duration, proof: "memory-returns"},
			{what: "garbage before a collection", text: "a quarter of the heap (GOGC=25, unless the environment sets it)", shows: "common/cli/cli.go debug.SetGCPercent(25)", proof: "idle-10000"},
			{what: "lines that wait for a reader of stdout, and of stderr", from: "common/accesslog maxQueue", unit: size, proof: "output-unread output-dropped TestSlowReader"},
			{what: "method or target in a line of the log", from: "common/accesslog maxField", unit: size, proof: "TestLine"},
			{what: "equal warnings on stderr", text: "1 in a minute", shows: "common/cli/cli.go < time.Minute", proof: "out-of-descriptors"},
		}},
		{"Connections, descriptors and threads", []bound{
			{what: "open connections", text: "RLIMIT_NOFILE less %s for the file cache, 2 for each event loop, and 64; at least a quarter of what the loops leave", from: "common/cli cacheFiles", flag: "max-conns", proof: "cli-max-conns cli-max-conns-default out-of-descriptors"},
			{what: "connections that wait in the kernel to be accepted", from: "stage4-epoll backlog", proof: "cli-backlog"},
			{what: "stage 4 makes room for a new client", text: "within 1 s; an acceptor asks every %s", from: "common/cli askAgain", unit: duration, proof: "cli-max-conns-shed"},
			{what: "threads of the pool, or event loops", text: "64, in stage 4 the number of CPUs; at most %s", from: "common/cli maxWorkers", flag: "workers", proof: "cli-workers threads"},
			{what: "threads that a client can cause", text: "0: connections, requests and files start no thread", proof: "threads idle-10000"},
			{what: "connections in the queue of the pool", text: "as many as workers", shows: "stage2-threadpool/server.go make(chan sock.Conn, cfg.Workers)", proof: "threads"},
			{what: "Go processors (GOMAXPROCS)", text: "stage 4: one for each loop, each acceptor, and the log; stages 2, 3: 4 and one for each acceptor, or the CPUs", shows: "stage4-epoll/server.go cfg.Workers + len(listeners) + 1", proof: "flood"},
		}},
		{"The other tier", []bound{
			{what: "connections of a worker to the tier, each with one question", from: "common/h1 TierConns", proof: "TestTierQueue"},
			{what: "questions of a worker that wait for one of these connections", from: "common/h1 maxWaiting", proof: "TestTierQueue"},
			{what: "replies to a question, as received", from: "common/resp maxBytes", unit: size, proof: "TestOneMebibyte"},
			{what: "values in these replies", from: "common/resp maxValues", proof: "TestEverySplit"},
			{what: "arrays in arrays", from: "common/resp maxDepth", proof: "TestEverySplit"},
			{what: "responses made from replies, beyond 32 KiB of each", text: "count for the %s of the requests under way", from: "common/h1 maxMemory", unit: size, proof: "TestReplyMemory"},
			{what: "notes that are kept", from: "common/site maxNotes", proof: "TestNotesInMemory"},
			{what: "code points of a note", from: "common/site maxNoteText", proof: "TestBadNotes"},
			{what: "body of a request that adds a note", from: "common/site maxNoteBody", unit: size, proof: "TestBadNotes"},
		}},
		{"A turn of an event loop", []bound{
			{what: "events that one epoll_wait(2) reports", from: "stage4-epoll batch", proof: "flood"},
			{what: "system calls for one connection before the others are served", from: "stage4-epoll budget", proof: "flood TestBudgetEndsWithResponse"},
			{what: "bytes in one sendfile(2)", from: "common/h1 sendfileStep", unit: size, proof: "content-big"},
			{what: "clients that a loop has more than another", from: "stage4-epoll slack", proof: "spread spread-one-loop-leaves"},
			{what: "clients that a loop gives away before it serves again", from: "stage4-epoll share", proof: "TestBalanceIsBounded"},
			{what: "values in an inbox", text: "as many as open connections", flag: "max-conns", proof: "cli-max-conns"},
			{what: "deadlines", text: "one for each connection; to arm one takes constant time", proof: "TestBatchCostsOneWalk"},
		}},
		{"Files and the API", []bound{
			{what: "files in the cache, each at most one descriptor", from: "common/site maxOpen", proof: "TestCacheEvicts"},
			{what: "file that is kept in memory", from: "common/site maxSmall", unit: size, proof: "content-changed"},
			{what: "an entry is used without a look at the disk", from: "common/site maxAge", unit: duration, proof: "content-changed content-appears TestCacheChecksDiskOncePerAge"},
			{what: "ranges of a request", from: "common/site maxRanges", proof: "range-16 range-overlap"},
			{what: "token in a cookie", from: "common/site maxToken", unit: size, proof: "TestTokens"},
			{what: "tokens of a request that are verified", from: "common/site maxTokens", proof: "TestLogin"},
			{what: "a list of videos is used again", from: "common/site videoAge", unit: duration, proof: "api-video"},
			{what: "files and folders in a walk for /api/video", from: "common/site maxWalk", proof: "api-video-bounded"},
			{what: "time of a walk for /api/video", from: "common/site walkTime", unit: duration, proof: "api-video-bounded"},
			{what: "body of a login", from: "common/site maxLogin", unit: size, proof: "api-login-413"},
			{what: "opens for a missing name below d folders", text: "in the order of log d", shows: "common/site/place.go sort.Search", proof: "name-missing TestSearchFolders"},
		}},
	}
}

// A source is the tree of the sources, for looking up amounts and proofs.
type source struct {
	root     string
	packages map[string]*types.Package
	claims   string
	tests    string // all test files and trials
}

func newSource() (*source, error) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return nil, err
	}
	s := &source{root: repo.Root, packages: map[string]*types.Package{}}
	spec, err := os.ReadFile(filepath.Join(s.root, "docs", "spec.md"))
	if err != nil {
		return nil, err
	}
	s.claims = string(spec)
	for _, pattern := range []string{"common/*/*_test.go", "common/servertest/trials/*.go", "stage*/*_test.go"} {
		files, _ := filepath.Glob(filepath.Join(s.root, pattern))
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			s.tests += string(text)
		}
	}
	return s, nil
}

// value returns the value of a constant, in the form DIR NAME.
func (s *source) value(from string) (int64, error) {
	dir, name, _ := strings.Cut(from, " ")
	pkg, err := s.load(dir)
	if err != nil {
		return 0, err
	}
	c, ok := pkg.Scope().Lookup(name).(*types.Const)
	if !ok {
		return 0, fmt.Errorf("%s: there is no such constant", from)
	}
	n, exact := constant.Int64Val(constant.ToInt(c.Val()))
	if !exact {
		return 0, fmt.Errorf("%s is not an integer", from)
	}
	return n, nil
}

// load returns a package with its constants. The types of everything that needs another package than time are
// missing, which does not matter here.
func (s *source) load(dir string) (*types.Package, error) {
	if pkg := s.packages[dir]; pkg != nil {
		return pkg, nil
	}
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(s.root, filepath.FromSlash(dir), "*.go"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("%s has no Go files", dir)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	conf := types.Config{Importer: onlyTime{importer.ForCompiler(set, "source", nil)}, IgnoreFuncBodies: true, Error: func(error) {}}
	pkg, _ := conf.Check(dir, set, files, nil)
	s.packages[dir] = pkg
	return pkg, nil
}

// onlyTime imports the package time, and no other.
type onlyTime struct{ types.Importer }

func (i onlyTime) Import(path string) (*types.Package, error) {
	if path != "time" {
		return nil, errors.New("not needed")
	}
	return i.Importer.Import(path)
}

// amount returns the amount of a bound as text.
func (s *source) amount(b bound) (string, error) {
	if b.shows != "" {
		file, part, _ := strings.Cut(b.shows, " ")
		text, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(file)))
		if err != nil {
			return "", err
		}
		if !strings.Contains(string(text), part) {
			return "", fmt.Errorf("%s does not contain %q", file, part)
		}
	}
	if b.from == "" {
		return b.text, nil
	}
	n, err := s.value(b.from)
	if err != nil {
		return "", err
	}
	amount := b.unit.print(n)
	if b.text != "" {
		return fmt.Sprintf(b.text, amount), nil
	}
	return amount, nil
}

func (u unit) print(n int64) string {
	switch {
	case u == duration && n%int64(time.Second) == 0:
		return fmt.Sprintf("%d s", n/int64(time.Second))
	case u == duration && n > int64(time.Second):
		return fmt.Sprintf("%g s", time.Duration(n).Seconds())
	case u == duration:
		return fmt.Sprintf("%d ms", n/int64(time.Millisecond))
	case u == size && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case u == size && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	case u == size:
		return fmt.Sprintf("%d bytes", n)
	case n >= 10_000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}

// checkFlag returns an error if the servers do not have the flag.
func (s *source) checkFlag(name string) error {
	text, err := os.ReadFile(filepath.Join(s.root, "common", "cli", "flags.go"))
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), `long: "`+name+`"`) {
		return fmt.Errorf("there is no flag --%s", name)
	}
	return nil
}

// checkProof returns an error if a claim, trial or test does not exist.
func (s *source) checkProof(name string) error {
	switch {
	case strings.HasPrefix(name, "Test"):
		if strings.Contains(s.tests, "func "+name+"(") {
			return nil
		}
	case regexp.MustCompile("(?m)^- `" + name + "`:").MatchString(s.claims), strings.Contains(s.tests, `{Name: "`+name+`"`):
		return nil
	}
	return fmt.Errorf("there is no claim, trial or test %s", name)
}

// writeBounds writes the table of bounds into the document.
func writeBounds(path string) error {
	table, err := boundsTable()
	if err != nil {
		return err
	}
	return replace(path, boundsBegin, boundsEnd, table)
}

// boundsTable returns the table of bounds as Markdown.
func boundsTable() (string, error) {
	s, err := newSource()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var errs []error
	b.WriteString("| what | how much | flag | shown by | in the code |\n|---|---|---|---|---|\n")
	for _, g := range bounds() {
		fmt.Fprintf(&b, "| **%s** | | | | |\n", g.name)
		for _, bound := range g.bounds {
			amount, err := s.amount(bound)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", bound.what, err))
			}
			flag := ""
			if bound.flag != "" {
				errs = append(errs, s.checkFlag(bound.flag))
				flag = "`--" + bound.flag + "`"
			}
			var proofs []string
			for _, p := range strings.Fields(bound.proof) {
				if err := s.checkProof(p); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", bound.what, err))
				}
				proofs = append(proofs, "`"+p+"`")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", bound.what, amount, flag, strings.Join(proofs, " "), sourceOf(bound))
		}
	}
	return b.String(), errors.Join(errs...)
}

// sourceOf returns where the amount is in the sources.
func sourceOf(b bound) string {
	if dir, name, ok := strings.Cut(b.from, " "); ok {
		return "`" + name + "` in " + dir
	}
	if file, _, ok := strings.Cut(b.shows, " "); ok {
		return file
	}
	return ""
}
