package learn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long no file must change before a check begins: an editor may write a file in several steps.
const settle = 100 * time.Millisecond

const keys = "n next, h hint, c check, t task, s solution, r reset, l list, q quit; then Enter"

// watch checks the exercise after each save, and obeys the letters that the reader types.
func (v *view) watch(ctx context.Context, in io.Reader) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := v.follow(watcher); err != nil {
		return err
	}
	if err := v.task(); err != nil {
		return err
	}
	v.paragraph("", "Save a file to check it, or type a letter:")
	v.paragraph("", keys)
	letters := typed(in)
	w := &watching{view: v, watcher: watcher}
	defer w.cancel()
	defer w.rest()
	w.build(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			return err
		case e := <-watcher.Events:
			if filepath.Ext(e.Name) == ".go" && !e.Has(fsnotify.Chmod) {
				w.later(settle)
			}
		case <-w.due:
			w.begin(ctx)
		case r := <-w.done:
			w.done = nil
			if r != nil {
				return r
			}
			v.paragraph("", keys)
		case letter, more := <-letters:
			if letter == "q" {
				return nil
			}
			if !more { // without a keyboard, only files and Ctrl-C count
				letters = nil
				continue
			}
			if err := w.obey(ctx, letter); err != nil {
				return err
			}
		}
	}
}

// watching is the state of watch: a check that is due or runs.
type watching struct {
	*view
	watcher  *fsnotify.Watcher
	due      <-chan time.Time
	done     chan error // gets the result of the running check
	stop     context.CancelFunc
	endBuild func() // ends the build in the background; nil if there is none
}

// build begins to build what the first check needs.
func (w *watching) build(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	wait := w.warm(ctx)
	w.endBuild = func() { stop(); wait() }
}

// rest ends the build in the background: the check does the rest of it.
func (w *watching) rest() {
	if w.endBuild != nil {
		w.endBuild()
		w.endBuild = nil
	}
}

// later makes a check due, and gives up the running one: its files are out of date.
func (w *watching) later(d time.Duration) {
	w.cancel()
	w.due = time.After(d)
}

// cancel stops the running check and waits for its end.
func (w *watching) cancel() {
	if w.done != nil {
		w.stop()
		<-w.done
		w.done = nil
	}
}

// begin starts a check.
func (w *watching) begin(ctx context.Context) {
	w.due = nil
	w.rest()
	ctx, w.stop = context.WithCancel(ctx)
	done := make(chan error, 1)
	w.done = done
	go func() {
		_, err := w.check(ctx)
		if ctx.Err() != nil {
			err = nil
		}
		done <- err
	}()
}

// obey does what a letter stands for.
func (w *watching) obey(ctx context.Context, letter string) error {
	w.cancel()
	switch letter {
	case "n":
		_, i := w.copied.current()
		if i+1 == len(w.copied.all) {
			w.printf("This is the last exercise.\n")
			return nil
		}
		return w.move(ctx, w.copied.all[i+1].ID)
	case "r":
		return w.move(ctx, w.copied.state.Exercise)
	case "h":
		return w.hint()
	case "c":
		w.later(0)
	case "t":
		return w.task()
	case "s":
		return w.solution()
	case "l":
		w.list()
	case "":
	default:
		w.paragraph("", keys)
	}
	return nil
}

// move goes to an exercise. The files that this writes are no work of the reader, so they start no check.
func (w *watching) move(ctx context.Context, id string) error {
	w.rest()
	for _, dir := range w.watcher.WatchList() {
		if err := w.watcher.Remove(dir); err != nil {
			return err
		}
	}
	if err := w.start(id); err != nil {
		return err
	}
	w.due = nil
	if e, _ := w.copied.current(); e.Bug != "" {
		w.later(0) // its task is to explain what the check shows
	} else {
		w.build(ctx)
	}
	return w.follow(w.watcher)
}

// follow watches the folders of the exercise's files. An editor may replace a file, so the folder is watched. Nobody
// knows where the reader looks for a bug, so all folders with code of the servers are watched for one.
func (v *view) follow(watcher *fsnotify.Watcher) error {
	dirs, err := v.folders()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
	}
	return nil
}

func (v *view) folders() ([]string, error) {
	e, _ := v.copied.current()
	if e.Bug != "" {
		dirs, err := filepath.Glob(v.copied.path("common/*"))
		return append(dirs, v.copied.path(e.Check[0].Dir)), err
	}
	stubs, err := v.copied.stubs()
	var dirs []string
	for _, s := range stubs {
		dirs = append(dirs, filepath.Dir(v.copied.path(s.File)))
	}
	return dirs, err
}

// typed returns the lines that the reader types. After the end of the input it is closed.
func typed(in io.Reader) <-chan string {
	lines := make(chan string)
	go func() { // a read from a terminal cannot be cancelled: this goroutine stays until the program ends
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- strings.ToLower(strings.TrimSpace(s.Text()))
		}
	}()
	return lines
}
