# ./dev cleanroom [all|run|test]: a bare Debian 12 (debootstrap, minbase) with only a clone of HEAD in it.
# There `./dev run` must work, each command it prints must do what it says, and `./dev test` must pass.
# It is a mount and process namespace of its own: nothing outlives it. It shares the network, and takes
# over how this machine reaches its registries (apt sources, pip and npm settings, proxies, certificates).
# shellcheck shell=sh

CLEANROOM=$CATZILLA_TOP/.cache/cleanroom

cleanroom_base() {
  [ -f "$CLEANROOM/base.done" ] && return 0
  command -v debootstrap >/dev/null 2>&1 || setup_packages all
  mkdir -p "$CLEANROOM"
  rm -rf "$CLEANROOM/base"
  mirror=$(sed -n 's/^URIs: *//p; s/^deb .*\(https*:[^ ]*\) bookworm main.*/\1/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  step "debootstrap bookworm" "$CLEANROOM/debootstrap.log" "see the log; is the mirror reachable?" \
    debootstrap --variant=minbase bookworm "$CLEANROOM/base" ${mirror:+"$mirror"}
  touch "$CLEANROOM/base.done"
}

# How this machine reaches the world; no credentials are copied.
cleanroom_network() {
  room=$1
  cp -L /etc/resolv.conf "$room/etc/resolv.conf"
  cp /etc/hosts "$room/etc/hosts"
  rm -f "$room/etc/apt/sources.list"
  cp /etc/apt/sources.list "$room/etc/apt/" 2>/dev/null || true
  cp /etc/apt/sources.list.d/debian.sources "$room/etc/apt/sources.list.d/" 2>/dev/null || true
  apt-config dump | grep -E '^Acquire::(http|https)::' >"$room/etc/apt/apt.conf.d/00cleanroom" || true
  for file in /etc/pip.conf /etc/npmrc; do
    [ ! -f "$file" ] || cp "$file" "$room/etc/"
  done
  mkdir -p "$room/usr/local/share/ca-certificates" "$room/etc/ssl/certs"
  cp /usr/local/share/ca-certificates/*.crt "$room/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp -L /etc/ssl/certs/ca-certificates.crt "$room/etc/ssl/certs/" 2>/dev/null || true
}

cleanroom_environment() {
  env | grep -E '^([a-zA-Z]+_(proxy|PROXY)|PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|NODE_EXTRA_CA_CERTS|npm_config_registry|GOPROXY|GOSUMDB|GOFLAGS|CATZILLA_(PORT|OPS_PORT|JOBS|FUZZ_SECONDS))=' || true
}

# Runs inside: pid 1 of the room, whose end ends everything in it.
cleanroom_inside() {
  room=$1 what=$2
  mount --make-rprivate /
  mount --bind "$room" "$room"
  mount -t proc proc "$room/proc"
  mount --rbind /sys "$room/sys"
  mount --rbind /dev "$room/dev"
  mount -t tmpfs -o mode=1777 shm "$room/dev/shm" 2>/dev/null || true
  cd "$room" || exit 1
  mkdir -p old
  pivot_root . old
  umount -l /old
  rmdir /old
  exec /bin/sh -eu /src/catzilla/dev.d/cleanroom-inside "$what"
}

dev_cleanroom() {
  what=${1:-all}
  case "$what" in all | run | test) ;; *) fail "cleanroom $what is unknown" "it is: all, run, test" ;; esac
  [ "$(id -u)" = 0 ] || fail "a cleanroom needs root (mounts, chroot)" "sudo ./dev cleanroom"
  cleanroom_base
  room=$CLEANROOM/room
  rm -rf "$room"
  cp -a --reflink=auto "$CLEANROOM/base" "$room"
  cleanroom_network "$room"
  mkdir -p "$room/src"
  git clone -q --no-local "$CATZILLA_TOP" "$room/src/catzilla" || fail "this tree could not be cloned"
  transcript=$CLEANROOM/transcript-$(git rev-parse --short HEAD)-$what.txt
  say "a bare Debian 12 with a clone of $(git rev-parse --short HEAD) in it; all of it goes to $transcript"
  code=$CLEANROOM/code
  echo 1 >"$code"
  {
    # The environment first, then what is started in it: one argument a line.
    {
      printf '%s\n' HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
      cleanroom_environment
      printf '%s\n' unshare --mount --pid --fork --kill-child ./dev cleanroom-inside "$room" "$what"
    } | tr '\n' '\0' | xargs -0 env -i && echo 0 >"$code"
  } 2>&1 </dev/null | tee "$transcript"
  rm -rf "$room"
  [ "$(cat "$code")" = 0 ] || fail "the cleanroom found something" "read $transcript"
}
