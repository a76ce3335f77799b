#pragma once
/// The files that another process has mapped, by the address they are mapped at. What members map
/// lies at the same address in all of them, so an address finds the file without a name.
///
/// *Thread safety*: any thread. Works on a process that is stopped.

#include "cohort/base/file_descriptor.hpp"

#include <cstdint>

namespace cohort::primary {

/// A new description, for reading and writing, of the file that process `pid` has mapped from
/// `address` on. Empty when there is none, it has no descriptor any more, or the kernel does not
/// let us look.
[[nodiscard]] file_descriptor open_mapped_file(int pid, std::uintptr_t address);

}  // namespace cohort::primary
