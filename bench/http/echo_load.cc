// The load of `./dev bench websockets`: WebSockets that each send one message, wait for it to come
// back, and send it again.
//
// One thread, one epoll set; the frame is made once. Every byte that comes back is compared.
// Usage: bench_echo_load PORT PATH CONNECTIONS SECONDS BYTES [hold]
// Prints messages, seconds and percentiles as JSON. With `hold` each sends one message; then it
// prints a line, and all stay open until its standard input ends.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Peer {
  int fd = -1;
  size_t got = 0;  // Of the answer.
  Clock::time_point sent;
};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "bench_echo_load: %s\n", why.c_str());
  std::exit(1);
}

// A text of so many bytes, as a client's frame with a mask of zeros and as the server's.
void MakeFrames(size_t bytes, std::string* out, std::string* back) {
  if (bytes > 125) Die("at most 125 bytes");
  const std::string text(bytes, 'x');
  *out = std::string("\x81") + static_cast<char>(0x80 | bytes) + std::string(4, '\0') + text;
  *back = std::string("\x81") + static_cast<char>(bytes) + text;
}

void SendAll(int fd, const std::string& bytes) {
  if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
    Die("a frame did not leave whole");
  }
}

int Open(int port, const std::string& path, int number) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) Die("no descriptor is left");
  sockaddr_in own{};
  own.sin_family = AF_INET;
  // A loopback address has 28,000 ports for clients.
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<uint32_t>(number / 20'000) + 1);
  sockaddr_in server = own;
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.sin_port = htons(static_cast<uint16_t>(port));
  if (bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0 ||
      connect(fd, reinterpret_cast<sockaddr*>(&server), sizeof server) != 0) {
    Die("cannot connect");
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SendAll(fd,
          "GET " + path +
              " HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  std::string head;
  char byte;
  while (!head.ends_with("\r\n\r\n")) {
    if (recv(fd, &byte, 1, 0) != 1) Die("the handshake broke off: " + head);
    head += byte;
  }
  if (!head.starts_with("HTTP/1.1 101 ")) Die("the handshake was answered: " + head);
  return fd;
}

// Takes what has come; true: the answer is complete.
bool Take(Peer& peer, const std::string& back) {
  char buffer[1024];
  const ssize_t bytes = recv(peer.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (bytes < 0) return false;
  const auto more = static_cast<size_t>(bytes);
  if (bytes == 0 || peer.got + more > back.size() ||
      std::memcmp(buffer, back.data() + peer.got, more) != 0) {
    Die("what came back is another message");
  }
  peer.got += more;
  if (peer.got < back.size()) return false;
  peer.got = 0;
  return true;
}

void Run(std::vector<Peer>& peers, int epoll, double seconds, const std::string& out,
         const std::string& back) {
  std::vector<uint32_t> times_us;
  const Clock::time_point begin = Clock::now();
  const Clock::time_point end = begin + std::chrono::microseconds(int64_t(seconds * 1e6));
  for (Peer& peer : peers) {
    peer.sent = Clock::now();
    SendAll(peer.fd, out);
  }
  epoll_event events[256];
  size_t waiting = peers.size();
  Clock::time_point now = begin;
  while (waiting > 0) {
    const int count = epoll_wait(epoll, events, 256, 10'000);
    if (count <= 0) Die("nothing came back for ten seconds");
    for (int i = 0; i < count; ++i) {
      Peer& peer = peers[events[i].data.u32];
      if (!Take(peer, back)) continue;
      now = Clock::now();
      times_us.push_back(static_cast<uint32_t>((now - peer.sent) / std::chrono::microseconds(1)));
      if (now >= end) {
        --waiting;
        continue;
      }
      peer.sent = now;
      SendAll(peer.fd, out);
    }
  }
  std::sort(times_us.begin(), times_us.end());
  const double took = std::chrono::duration<double>(now - begin).count();
  std::printf("{\"messages\": %zu, \"seconds\": %f, \"p50_us\": %u, \"p99_us\": %u}\n",
              times_us.size(), took, times_us[times_us.size() / 2],
              times_us[times_us.size() * 99 / 100]);
}

void Hold(std::vector<Peer>& peers, const std::string& out, const std::string& back) {
  for (Peer& peer : peers) {
    SendAll(peer.fd, out);
    char buffer[256];
    if (recv(peer.fd, buffer, back.size(), MSG_WAITALL) != static_cast<ssize_t>(back.size()) ||
        std::memcmp(buffer, back.data(), back.size()) != 0) {
      Die("what came back is another message");
    }
  }
  std::printf("held\n");
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 6) Die("PORT PATH CONNECTIONS SECONDS BYTES [hold]");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::string out, back;
  MakeFrames(static_cast<size_t>(std::atoi(words[5])), &out, &back);
  std::vector<Peer> peers(static_cast<size_t>(std::atoi(words[3])));
  const int epoll = epoll_create1(0);
  for (size_t i = 0; i < peers.size(); ++i) {
    peers[i].fd = Open(std::atoi(words[1]), words[2], static_cast<int>(i));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = static_cast<uint32_t>(i);
    epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].fd, &event);
  }
  if (count > 6) {
    Hold(peers, out, back);
  } else {
    Run(peers, epoll, std::atof(words[4]), out, back);
  }
  return 0;
}
