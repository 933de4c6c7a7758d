package trace

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/variants"
)

// atOnce is how many pitfalls are recorded at once. Most of their time is spent waiting.
const atOnce = 3

// A result says how the recording of one pitfall went.
type result struct {
	err  error
	note string // a run that ended differently than without strace
	took time.Duration
}

// every records all pitfalls, and writes their pictures into bin/trace. It returns an error if one gives no picture.
func (c *Command) every(ctx context.Context, repo *variants.Repo) error {
	all, err := pitfalls.All(repo)
	if err != nil {
		return err
	}
	if err := straceMissing(); err != nil {
		return err
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		return err
	}
	defer shop.Close()
	results := make([]result, len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				results[i] = c.one(ctx, repo, shop, &all[i])
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()
	bad := 0
	for i, r := range results {
		said := cmp.Or(r.note, "drawn")
		if r.err != nil {
			bad++
			said = "no picture: " + r.err.Error()
		}
		fmt.Printf("%-30s %4.1f s  %s\n", all[i].ID, r.took.Seconds(), said)
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d pitfalls give no picture", bad, len(all))
	}
	return ctx.Err()
}

// one records and draws a pitfall.
func (c *Command) one(ctx context.Context, repo *variants.Repo, shop *variants.Workshop, p *pitfalls.Pitfall) (r result) {
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	both, err := recordBoth(ctx, shop, p)
	if err != nil {
		return result{err: err}
	}
	pic := picture(both, p, c.All)
	for i, s := range pic.Scenes {
		if len(s.Lanes) == 0 || len(s.Steps) == 0 {
			r.err = errors.Join(r.err, fmt.Errorf("%s shows %d threads and %d actions", both[i].name, len(s.Lanes), len(s.Steps)))
		}
		if len(s.Notes) > 1 {
			r.note = "drawn; it ends differently under strace"
		}
	}
	svg, events := pic.SVG(), pic.Events()
	if !json.Valid(events) {
		r.err = errors.Join(r.err, errors.New("the events are no JSON"))
	}
	r.err = errors.Join(r.err, wellFormed(svg))
	at := filepath.Join(repo.Root, "bin", "trace", p.ID)
	r.err = errors.Join(r.err, os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at+".svg", svg, 0o644), os.WriteFile(at+".json", events, 0o644))
	return r
}

// wellFormed returns an error if a text is no XML.
func wellFormed(text []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the picture is no XML: %w", err)
		}
	}
}
