#pragma once
// Whether all that the dead had is where it is to be: the slot of each is free.

#include "cohort/domain/domain.hpp"

namespace cohort::test {

[[nodiscard]] inline bool is_alone(domain& member)
{
    bool alone = true;
    member.members().members().for_each_member([&](member_id id, member_layout&, member_word) {
        alone = alone && id == member.self().id;
    });
    return alone;
}

}  // namespace cohort::test
