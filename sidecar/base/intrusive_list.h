// A doubly linked list whose links live in its members, so linking never allocates.
//
// Threads: none of its own. Owns: nothing; a member unlinks itself when it dies.
// Use:     struct Waiter : base::ListNode<struct ByAge> {...};  base::List<Waiter, ByAge> waiters;
#pragma once

#include <cstddef>

#include "sidecar/base/check.h"

namespace catzilla::base {

template <typename Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;

  bool linked() const { return next_ != nullptr; }

  // Idempotent.
  void Unlink() {
    if (next_ == nullptr) return;
    next_->previous_ = previous_;
    previous_->next_ = next_;
    next_ = previous_ = nullptr;
  }

 protected:
  ~ListNode() { Unlink(); }

 private:
  template <typename T, typename U>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

template <typename T, typename Tag>
class List {
 public:
  List() { head_.next_ = head_.previous_ = &head_; }
  ~List() {
    while (!empty()) head_.next_->Unlink();
    head_.next_ = head_.previous_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : FromNode(head_.next_); }
  T* back() { return empty() ? nullptr : FromNode(head_.previous_); }

  // REQUIRES: not linked in a list of this tag.
  void PushBack(T& item) {
    ListNode<Tag>* node = &item;
    CATZILLA_CHECK(!node->linked(), "a list member is linked twice");
    node->previous_ = head_.previous_;
    node->next_ = &head_;
    head_.previous_->next_ = node;
    head_.previous_ = node;
  }

  // As PushBack(), but first in line.
  void PushFront(T& item) {
    ListNode<Tag>* node = &item;
    CATZILLA_CHECK(!node->linked(), "a list member is linked twice");
    node->next_ = head_.next_;
    node->previous_ = &head_;
    head_.next_->previous_ = node;
    head_.next_ = node;
  }

  T* PopFront() {
    T* item = front();
    if (item != nullptr) static_cast<ListNode<Tag>*>(item)->Unlink();
    return item;
  }

  // Calls visit(T&) for each; `visit` may unlink the one it is given, but no other.
  template <typename Visit>
  void ForEach(Visit visit) {
    for (ListNode<Tag>* node = head_.next_; node != &head_;) {
      ListNode<Tag>* next = node->next_;
      visit(*FromNode(node));
      node = next;
    }
  }

 private:
  static T* FromNode(ListNode<Tag>* node) { return static_cast<T*>(node); }

  // The ring's own node; never a member.
  struct Head : ListNode<Tag> {};
  Head head_;
};

}  // namespace catzilla::base
