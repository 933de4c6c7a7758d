package draw
import "fourways.example/lab/learner/bench/result"
func Report(r *result.Report, dir string) ([]result.Picture, error) { return nil, nil }
