package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ready is the content of a ready file.
type ready struct {
	API       string `json:"api"` // URL
	S3        string `json:"s3"`  // URL
	Account   string `json:"account"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Region    string `json:"region"`
}

// writeReady writes a ready file in one step: who sees it, sees all of it.
func writeReady(path string, r ready) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".stevedore-ready-*") // readable by its owner only
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(append(data, '\n')); err != nil {
		f.Close()
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}

// checkReady returns a problem if no ready file can be written at path.
func checkReady(path string) error {
	cannot := func(why, try string, err error) error {
		return &problem{what: fmt.Sprintf("--ready-file %s: cannot be written", path), why: why, try: try, code: exitUsage, err: err}
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".stevedore-ready-*")
	if err != nil {
		why, try := err.Error(), "a file in a directory that you may write to"
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			why = dir + ": " + e.Err.Error()
		}
		if errors.Is(err, fs.ErrNotExist) {
			try = "mkdir -p " + quoteShell(dir)
		}
		return cannot(why, try, err)
	}
	f.Close()
	os.Remove(f.Name())
	if at, err := os.Stat(path); err == nil && at.IsDir() {
		return cannot(path+" is a directory", "--ready-file "+quoteShell(filepath.Join(path, "ready.json")), nil)
	}
	return nil
}

func readReady(path string) (ready, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return ready{}, fmt.Errorf("read ready file: %w", err)
	}
	var r ready
	if err := json.Unmarshal(data, &r); err != nil {
		return ready{}, fmt.Errorf("read ready file %s: %w", path, err)
	}
	return r, nil
}
