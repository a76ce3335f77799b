#include "cohort/sync/sentinel.hpp"

#include <cerrno>
#include <memory>

namespace cohort {

void sentinel_layout::initialise() noexcept
{
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&mutex_, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
}

bool sentinel_layout::hold() noexcept
{
    const int result = ::pthread_mutex_trylock(&mutex_);
    if (result == EOWNERDEAD)
        ::pthread_mutex_consistent(&mutex_);
    return result == 0 || result == EOWNERDEAD;
}

void sentinel_layout::let_go() noexcept
{
    ::pthread_mutex_unlock(&mutex_);
}

void sentinel_layout::recover() noexcept
{
    if (owner_died() && hold())
        let_go();
}

}  // namespace cohort
