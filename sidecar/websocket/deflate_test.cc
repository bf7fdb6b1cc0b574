#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "sidecar/websocket/deflater.h"
#include "sidecar/websocket/extensions.h"
#include "sidecar/websocket/message_decoder.h"
#include "sidecar/websocket/testing.h"

namespace catzilla::websocket {
namespace {

std::string Answer(std::string_view offers) {
  const DeflateTerms terms = NegotiateDeflate(offers);
  char out[128];
  return terms.agreed ? std::string(DescribeTerms(terms, out)) : "";
}

TEST(Extensions, TheFirstOfferThatCanBeKeptIsTaken) {
  const std::string plain =
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  struct Row {
    const char* offers;
    std::string answer;
  };
  const Row rows[] = {
      {"permessage-deflate", plain},
      {"Permessage-Deflate", plain},
      {"permessage-deflate; client_max_window_bits", plain},
      {"permessage-deflate; client_max_window_bits=8", plain},
      {"permessage-deflate;client_max_window_bits=\"15\"", plain},
      {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", plain},
      {"permessage-deflate; server_max_window_bits=10", plain + "; server_max_window_bits=10"},
      {"permessage-deflate; server_max_window_bits=\"15\"", plain + "; server_max_window_bits=15"},
      {"x-other, permessage-deflate", plain},
      {"permessage-deflate; server_max_window_bits=8, permessage-deflate", plain},
      {"permessage-deflate; unheard_of, permessage-deflate; server_max_window_bits=9",
       plain + "; server_max_window_bits=9"},
      {"", ""},
      {"permessage-deflated", ""},
      {"permessage-deflate; server_max_window_bits", ""},
      {"permessage-deflate; server_max_window_bits=8", ""},
      {"permessage-deflate; server_max_window_bits=16", ""},
      {"permessage-deflate; server_max_window_bits=09", ""},
      {"permessage-deflate; client_max_window_bits=7", ""},
      {"permessage-deflate; client_max_window_bits=", ""},
      {"permessage-deflate; server_no_context_takeover=1", ""},
      {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
      {"permessage-deflate; x=\"a, permessage-deflate\"", ""},
      {"permessage-deflate; x=\"unended", ""},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(Answer(row.offers), row.answer) << row.offers;
  }
}

// What our decoder makes of what our deflater has made.
std::string Again(const std::vector<std::string>& pieces, Deflater& deflater, int bits) {
  std::string wire;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool last = i + 1 == pieces.size();
    wire += ClientFrame(i == 0 ? Opcode::kBinary : Opcode::kContinuation,
                        deflater.Piece(pieces[i], last, bits), last, i == 0);
  }
  MessageDecoder decoder(10'000'000);
  decoder.Inflate(std::make_unique<Inflater>(15, false));
  std::string got;
  std::vector<char> out(1000);
  std::string_view input = wire;
  for (;;) {
    const MessageDecoder::Step step = decoder.Next(input, out);
    input.remove_prefix(step.consumed);
    if (step.event == MessageDecoder::Event::kError) return std::string(step.cause);
    got += step.payload;
    if (step.last) return got;
    if (step.event == MessageDecoder::Event::kNothing && input.empty()) return "no end";
  }
}

TEST(Deflater, PiecesInflateToWhatTheyWere) {
  Deflater deflater;
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 65'536; ++i) {
    state = state * 1664525 + 1013904223;
    noise += static_cast<char>(state >> 24);
  }
  const std::string same(65'536, 's');
  for (const int bits : {9, 12, 15}) {
    EXPECT_EQ(Again({""}, deflater, bits), "");
    EXPECT_EQ(Again({"Hello"}, deflater, bits), "Hello");
    EXPECT_EQ(Again({"Hello", " ", "", "world"}, deflater, bits), "Hello world");
    EXPECT_EQ(Again({"Hello", ""}, deflater, bits), "Hello");
    EXPECT_EQ(Again({noise, same, noise}, deflater, bits), noise + same + noise);
  }
  EXPECT_LT(deflater.Piece(same, true, 15).size(), 1000u);
  EXPECT_LT(deflater.Piece(noise, true, 15).size(), 66'000u);
}

}  // namespace
}  // namespace catzilla::websocket
